#!/bin/bash
# Builds the images with docker, podman or buildah and writes each as a docker archive DIR/NAME.tar, with its bill of materials
# beside it (DIR/NAME.cdx.json). What is there already and made of the same is left as it is.
# usage: build.sh DIR [NAME...]           names: operator instance pooler logical-backup (default: all)
#   ENGINE=buildah                        which program builds (default: the first that works)
#   IMAGES_PREFIX=localhost/howdah        IMAGES_VERSION=0.1.0 (default: the version of the source)
#   BASE=IMAGE                            what they are built on; BASE=local: Debian, made here by mmdebstrap, no registry is asked
#   BUILD_ARGS="PG_MAJORS=15 16"          one a line
#   FRESH=1                               nothing kept is used, so that packages are today's: for a release
set -euo pipefail
umask 022
root=$(dirname "$(dirname "$(realpath "$0")")")
all=(operator instance pooler logical-backup)
release=bookworm
die() { echo "${0##*/}: $*" >&2; exit 1; }

mkdir -p "$1" && dir=$(realpath "$1")
names=("${@:2}")
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
prefix=${IMAGES_PREFIX:-localhost/howdah}
version=${IMAGES_VERSION:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/src/howdah/__init__.py")}
base=${BASE:-docker.io/library/debian:$release-slim}

works() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }
engine=${ENGINE:-$(for e in docker podman buildah; do works $e && { echo $e; break; }; done)} || true
[ -n "$engine" ] || die "neither docker nor podman nor buildah works here: install one (Debian, as root: apt-get install buildah)"
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}  # needs no container runtime, and no namespaces
exec 9>"$dir/.lock" && flock 9  # two at once would wait for each other in the engine's store
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# --- without a registry -------------------------------------------------------------------------------------------

make_base() {  # the tag carries the packages' state only in its layers: remove it to have a newer one
    base=localhost/howdah-base/debian:$release-2  # counted up when what is made here changes
    [ -n "${FRESH:-}" ] || ! has_image "$base" || return 0
    command -v mmdebstrap >/dev/null || die "BASE=local needs mmdebstrap and root (Debian: apt-get install mmdebstrap)"
    echo "making $base with mmdebstrap ..."
    local without=()
    for folder in man doc locale; do without+=(--dpkgopt="path-exclude=/usr/share/$folder/*"); done
    mmdebstrap --variant=minbase --quiet "${without[@]}" --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm -rf $1/var/cache/apt/*.bin $1/var/lib/apt/lists/* $1/var/log/*' "$release" - |
        python3 "$root/e2e/kubernetes/image.py" "$base" /bin/bash >"$scratch/base.tar"
    load "$scratch/base.tar"
}

# How this machine reaches Debian's and Python's packages: there while a step runs, in no layer. docker build has no such mounts.
mounts() {
    [ "${BASE:-}" = local ] && [ "$engine" != docker ] || return 0
    local folder
    for folder in sources.list.d auth.conf.d keyrings; do printf -- '--volume=%s:%s:ro\n' "/etc/apt/$folder" "/etc/apt/$folder"; done
    if compgen -G '/etc/apt/sources.list.d/*.sources' >/dev/null; then  # instead of the base's own
        : >"$scratch/sources.list" && printf -- '--volume=%s:ro\n' "$scratch/sources.list:/etc/apt/sources.list"
    fi
    cat /etc/apt/apt.conf.d/* 2>/dev/null | grep '^Acquire::' >"$scratch/apt.conf" || true
    sed "s#/etc/ssl/certs/ca-certificates.crt#/run/machine-ca.crt#" /etc/pip.conf >"$scratch/pip.conf" 2>/dev/null || true
    printf -- '--volume=%s:ro\n' "$scratch/apt.conf:/etc/apt/apt.conf" "$scratch/pip.conf:/etc/pip.conf"
    printf -- '--volume=%s:ro\n' /etc/ssl/certs/ca-certificates.crt:/run/machine-ca.crt
}

# --- three programs, one meaning ----------------------------------------------------------------------------------

has_image() {
    case $engine in
    buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
    *) "$engine" image inspect "$1" >/dev/null 2>&1 ;;
    esac
}
load() { case $engine in buildah) buildah pull -q "docker-archive:$1" >/dev/null ;; *) "$engine" load -q -i "$1" >/dev/null ;; esac; }
save() {  # IMAGE FILE
    case $engine in
    buildah) buildah push -q "$1" "docker-archive:$2:$1" ;;
    podman) podman save -q --format docker-archive -o "$2" "$1" ;;
    docker) docker save -o "$2" "$1" ;;
    esac
}
build() {  # NAME IMAGE
    local options=(--file "$root/images/$1/Containerfile" --tag "$2" --build-arg "BASE=$base" ${FRESH:+--no-cache}) more=() line
    while read -r line; do [ -z "$line" ] || options+=(--build-arg "$line"); done <<<"${BUILD_ARGS:-}"
    mapfile -t more < <(mounts)
    case $engine in
    buildah) buildah bud --layers --format docker --network host "${pull[@]}" "${more[@]}" "${options[@]}" "$root" ;;
    podman) podman build --layers --format docker --network host "${pull[@]}" "${more[@]}" "${options[@]}" "$root" ;;
    docker) docker build "${options[@]}" "$root" ;;
    esac
}

# --- the images ---------------------------------------------------------------------------------------------------

inputs() {  # NAME: a hash of all that the image is made of
    (cd "$root" && { printf '%s\n' "$version" "$prefix" "$base" "${BUILD_ARGS:-}"
        find images requirements src/howdah -type f ! -name '*.pyc' ! -name archive.py ! -name '*.mk' ! -path 'images/*/*' -o -path "images/$1/*" -type f |
            LC_ALL=C sort | xargs sha256sum; }) | sha256sum | cut -d' ' -f1
}
make_image() {  # NAME
    local image=$prefix/$1:$version file=$dir/$1.tar hash
    hash=$(inputs "$1")
    if [ -z "${FRESH:-}" ] && [ -s "$file" ] && [ "$(cat "$dir/.$1.inputs" 2>/dev/null)" = "$hash" ]; then echo "$image is up to date: $file"; return; fi
    build "$1" "$image" >"$scratch/log" 2>&1 || { tail -n 40 "$scratch/log" >&2; die "$1 could not be built"; }
    rm -f "$file.new" && save "$image" "$file.new" && mv "$file.new" "$file"
    python3 "$root/images/archive.py" read "$file" usr/share/sbom/howdah.cdx.json >"$dir/$1.cdx.json"
    echo "$hash" >"$dir/.$1.inputs"
    echo "$image: $file, $(python3 "$root/images/archive.py" size "$file")"
}

pull=()
if [ "$base" = local ]; then pull=(--pull-never) && make_base; fi
for name in "${names[@]}"; do make_image "$name"; done
