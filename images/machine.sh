# Sourced by what asks for packages: how the machine that builds reaches them, if it says so (the secret `machine`, a tar that
# build.sh made). It is there while a step runs, and in no layer.
SOURCES=/etc/apt/sources.list.d
if [ -s /run/secrets/machine ]; then
    settings=$(mktemp -d)
    trap 'rm -rf "$settings"' EXIT
    chmod 755 "$settings"  # apt reads as a user of its own
    tar --extract --file=/run/secrets/machine --directory="$settings" --no-same-owner
    find "$settings/sources.list.d" "$settings/apt.conf" "$settings/pip.conf" -type f -exec sed -i "s#/MACHINE/#$settings/#g" {} +
    if [ -n "$(ls "$settings/sources.list.d")" ]; then  # instead of the base's own
        SOURCES=$settings/sources.list.d
        cat >>"$settings/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$SOURCES";
Dir::Etc::netrcparts "$settings/auth.conf.d";
EOF
    fi
    export APT_CONFIG="$settings/apt.conf" PIP_CONFIG_FILE="$settings/pip.conf"
fi
export DEBIAN_FRONTEND=noninteractive
