#!/bin/bash
# Builds the images with docker, podman or buildah and writes each as a docker archive DIR/NAME.tar, with its bill of materials
# beside it (DIR/NAME.cdx.json). What is there already and made of the same is left as it is.
# usage: build.sh DIR [NAME...]           names: operator instance pooler logical-backup (default: all)
#   ENGINE=buildah                        which program builds (default: the first that works)
#   IMAGES_PREFIX=localhost/howdah        IMAGES_VERSION=0.1.0 (default: the version of the source)
#   BASE=IMAGE                            what they are built on; BASE=local: Debian, made here by mmdebstrap, no registry is asked
#   DEBIAN=bookworm                       the release of that base
#   BUILD_ARGS="PG_MAJORS=15 16"          one a line
#   FRESH=1                               nothing kept is used, so that packages are today's: for a release
set -euo pipefail
umask 022
root=$(dirname "$(dirname "$(realpath "$0")")")
all=(operator instance pooler logical-backup)
release=${DEBIAN:-bookworm}
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
cache=${XDG_CACHE_HOME:-~/.cache}/howdah
mkdir -p "$cache" && exec 9>"$cache/images.lock" && flock 9  # two at once, wherever to: one would look at what the other just removed
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

# How this machine reaches Debian's and Python's packages: machine.sh reads it while a step runs. (Of another distribution: only Python's.)
machine_settings() {  # FILE: a packed tar; paths in it begin with /MACHINE/
    local settings=$scratch/machine own file
    own=$(. /etc/os-release && if [ "$ID" = debian ]; then echo "$VERSION_CODENAME"; fi)
    mkdir -p "$settings"/{sources.list.d,auth.conf.d,keyrings}
    if [ -n "$own" ]; then
        for file in /etc/apt/{sources.list.d/*.{list,sources},auth.conf.d/*,keyrings/*}; do [ ! -f "$file" ] || cp "$file" "$settings/${file#/etc/apt/}"; done
        [ ! -s /etc/apt/sources.list ] || cp /etc/apt/sources.list "$settings/sources.list.d/machine.list"
        find "$settings/sources.list.d" -type f -exec sed -i "s#\b$own\b#$release#g" {} +
    fi
    grep -hs '^Acquire::.*;' /etc/apt/apt.conf.d/* >"$settings/apt.conf" || true
    cat /etc/pip.conf >"$settings/pip.conf" 2>/dev/null || true
    cat /etc/ssl/certs/ca-certificates.crt >"$settings/ca.crt" 2>/dev/null || true
    find "$settings/sources.list.d" "$settings"/{apt,pip}.conf -type f -exec sed -i \
        's#/etc/apt/keyrings/#/MACHINE/keyrings/#g; s#/etc/ssl/certs/ca-certificates.crt#/MACHINE/ca.crt#g' {} +
    tar --create --gzip --directory="$settings" --file="$1" .
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
    local options=(--file "$root/images/$1/Containerfile" --tag "$2" --build-arg "BASE=$base" ${FRESH:+--no-cache}) line
    options+=(--label "org.opencontainers.image.version=$version" "${reach[@]}")
    while read -r line; do [ -z "$line" ] || options+=(--build-arg "$line"); done <<<"${BUILD_ARGS:-}"
    case $engine in
    buildah) buildah bud --layers --format docker "${options[@]}" "$root" ;;
    podman) podman build --layers --format docker "${options[@]}" "$root" ;;
    docker) DOCKER_BUILDKIT=1 docker build "${options[@]}" "$root" ;;
    esac
}

# What the build before this one made and this one did not use goes, if it has no name: else each change of the source would keep
# two images for ever. (What docker's steps made it tidies up by itself.)
forget_superseded() {  # NAME IMAGE, with the build's log
    local others=() name unnamed id
    for name in "${all[@]}"; do [ "$name" = "$1" ] || others+=("$dir/.$name.made"); done
    case $engine in
    docker) docker image inspect --format '{{.Id}}' "$2" | sed 's/^sha256://' ;;
    *) sed -nE 's/^--> (Using cache )?([0-9a-f]{11,64})$/\2/p; s/^([0-9a-f]{64})$/\1/p' "$scratch/log" ;;
    esac | cut -c -11 >"$scratch/made"
    unnamed=$("$engine" images --all --quiet --no-trunc --filter dangling=true)
    [ ! -e "$dir/.$1.made" ] || tac "$dir/.$1.made" | while read -r id; do
        if grep -q "^\(sha256:\)\?$id" <<<"$unnamed" && ! grep -qsx "$id" "$scratch/made" "${others[@]}"; then "$engine" rmi "$id" >/dev/null 2>&1 || true; fi
    done
    cp "$scratch/made" "$dir/.$1.made"
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
    forget_superseded "$1" "$image"
    rm -f "$file.new" && save "$image" "$file.new" && mv "$file.new" "$file"
    python3 "$root/images/archive.py" read "$file" usr/share/sbom/howdah.cdx.json >"$dir/$1.cdx.json"
    echo "$hash" >"$dir/.$1.inputs"
    echo "$image: $file, $(python3 "$root/images/archive.py" size "$file")"
}

reach=()
if [ "$base" = local ]; then
    make_base
    machine_settings "$scratch/machine.tar"
    reach=(--network host --secret "id=machine,src=$scratch/machine.tar")
    [ "$engine" = docker ] || reach+=(--pull-never)
elif [ "$engine" != docker ]; then reach=(--network host); fi
for name in "${names[@]}"; do make_image "$name"; done
