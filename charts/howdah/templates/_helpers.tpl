{{- define "howdah.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "howdah.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "howdah.selector" -}}
app.kubernetes.io/name: {{ include "howdah.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "howdah.labels" -}}
{{ include "howdah.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "howdah.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.registry }}{{ .Values.image.registry }}/{{ end }}{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}

{{- /* An image of ours for what the operator makes. */ -}}
{{- define "howdah.ours" -}}
{{- $from := .root.Values.images -}}
{{- if $from.registry }}{{ $from.registry }}/{{ end }}{{ $from.repository }}/{{ .name }}:{{ $from.tag }}
{{- end -}}

{{- define "howdah.account" -}}
{{- .Values.serviceAccount.name | default (include "howdah.fullname" .) -}}
{{- end -}}

{{- define "howdah.controllerID" -}}
{{- .Values.controllerID.name | default (include "howdah.fullname" .) -}}
{{- end -}}

{{- /* As `lease` in src/howdah/model/names.py. */ -}}
{{- define "howdah.lease" -}}
{{- $id := include "howdah.controllerID" . -}}
{{- if not .Values.controllerID.create -}}
howdah
{{- else if and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $id) (le (len $id) 63) -}}
howdah-{{ $id }}
{{- else -}}
howdah-{{ $id | sha256sum | trunc 16 }}
{{- end -}}
{{- end -}}

{{- define "howdah.port" -}}
{{- .Values.configLoggingRestApi.api_port | default 8080 -}}
{{- end -}}

{{- /* The pods' account, which is also the name of their role. */ -}}
{{- define "howdah.podAccount" -}}
{{- $option := (.Values.configKubernetes).pod_service_account_name -}}
{{- tpl ($option | default .Values.podServiceAccount.name | default (printf "%s-pod" (include "howdah.fullname" .))) . -}}
{{- end -}}

{{- /* The role binding of that account as the operator makes it: its name, the role and the role's kind. */ -}}
{{- define "howdah.podBinding" -}}
{{- $account := include "howdah.podAccount" . -}}
{{- $written := fromYaml (tpl (toString ((.Values.configKubernetes).pod_service_account_role_binding_definition | default "")) .) -}}
{{- if ne (toString $written.kind) "RoleBinding" }}{{ $written = dict }}{{ end -}}
{{- $role := $written.roleRef | default (dict "name" $account) -}}
name: {{ ($written.metadata).name | default $account | quote }}
role: {{ $role.name | quote }}
roles: {{ printf "%ss" (lower ($role.kind | default "ClusterRole")) }}
{{- end -}}

{{- /* The pods' priority class: whether it is made, the name that the values say, its name, its value. A string is its name, as in the reference's release 1.10. */ -}}
{{- define "howdah.podPriorityClass" -}}
{{- $said := .Values.podPriorityClassName -}}
{{- if kindIs "string" $said }}{{ $said = dict "create" (ne $said "") "name" $said "priority" 1000000 }}{{ end -}}
{{- $own := printf "%s-pod" (include "howdah.fullname" .) -}}
{{- toYaml (dict "create" $said.create "said" ($said.name | default "") "name" ($said.name | default $own) "priority" (int64 $said.priority)) -}}
{{- end -}}

{{- /* Watched namespaces, one a line; "*" for all. As the operator has it: its environment, its option, its own namespace. */ -}}
{{- define "howdah.watched" -}}
{{- $asked := tpl (toString ((.Values.configKubernetes).watched_namespace | default "")) . -}}
{{- range .Values.extraEnvs }}{{ if and (eq .name "WATCHED_NAMESPACE") .value }}{{ $asked = .value }}{{ end }}{{ end -}}
{{- if contains "*" $asked -}}
*
{{- else -}}
{{- range $place := splitList "," ($asked | default .Release.Namespace) }}{{ with trim $place }}{{ . }}
{{ end }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* The options by group, with what the chart decides where the values are silent. */ -}}
{{- define "howdah.configuration" -}}
{{- $kubernetes := dict "pod_service_account_name" (include "howdah.podAccount" .) -}}
{{- $class := include "howdah.podPriorityClass" . | fromYaml -}}
{{- if eq .Values.configTarget "ConfigMap" -}}
{{- if or $class.create $class.said }}{{ $_ := set $kubernetes "pod_priority_class_name" $class.name }}{{ end -}}
{{- else -}}
{{- if $class.said }}{{ $_ := set $kubernetes "pod_priority_class_name" $class.said }}{{ end -}}
{{- $_ := set $kubernetes "oauth_token_secret_name" (include "howdah.fullname" .) -}}
{{- end -}}
{{- $general := dict -}}
{{- $backup := dict -}}
{{- $pooler := dict -}}
{{- if eq .Values.images.from "howdah" -}}
{{- $_ := set $general "docker_image" (include "howdah.ours" (dict "root" . "name" "instance")) -}}
{{- $_ := set $pooler "connection_pooler_image" (include "howdah.ours" (dict "root" . "name" "pooler")) -}}
{{- $_ := set $backup "logical_backup_docker_image" (include "howdah.ours" (dict "root" . "name" "logical-backup")) -}}
{{- $kubernetes = merge $kubernetes (dict "spilo_runasuser" 101 "spilo_runasgroup" 103 "spilo_fsgroup" 103 "spilo_allow_privilege_escalation" false) -}}
{{- end -}}
{{- $all := dict "" (merge (dict) (.Values.configGeneral | default dict) $general) -}}
{{- $all = merge $all (dict
  "users" .Values.configUsers
  "major_version_upgrade" .Values.configMajorVersionUpgrade
  "kubernetes" (merge (dict) (.Values.configKubernetes | default dict) $kubernetes)
  "postgres_pod_resources" .Values.configPostgresPodResources
  "timeouts" .Values.configTimeouts
  "load_balancer" .Values.configLoadBalancer
  "debug" .Values.configDebug
  "logging_rest_api" .Values.configLoggingRestApi
  "aws_or_gcp" .Values.configAwsOrGcp
  "logical_backup" (merge (dict) (.Values.configLogicalBackup | default dict) $backup)
  "teams_api" .Values.configTeamsApi
  "connection_pooler" (merge (dict) (.Values.configConnectionPooler | default dict) $pooler)
  "patroni" .Values.configPatroni
  "howdah" .Values.configHowdah
) -}}
{{- with .Values.configScalyr }}{{ $_ := set $all "scalyr" . }}{{ end -}}
{{- tpl (toYaml $all) . -}}
{{- end -}}

{{- /* The lines of a ConfigMap's data for one group: lists and maps by comma, as the operator reads them. */ -}}
{{- define "howdah.flat" -}}
{{- range $key, $value := . }}
{{- if kindIs "slice" $value }}
{{- range $value }}{{ if kindIs "map" . }}{{ fail (printf "%s is a list of objects: set configTarget to OperatorConfigurationCRD" $key) }}{{ end }}{{ end }}
{{ $key }}: {{ join "," $value | quote }}
{{- else if kindIs "map" $value }}
{{- $pairs := list }}
{{- range $name, $part := $value }}
{{- if or (kindIs "map" $part) (kindIs "slice" $part) }}{{ fail (printf "%s holds objects: set configTarget to OperatorConfigurationCRD" $key) }}{{ end }}
{{- $pairs = append $pairs (printf "%s:%v" $name $part) }}
{{- end }}
{{ $key }}: {{ join "," $pairs | quote }}
{{- else if kindIs "float64" $value }}
{{ $key }}: {{ int64 $value | quote }}
{{- else if not (kindIs "invalid" $value) }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
