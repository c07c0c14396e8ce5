# Sourced between `apt-get update` and an installation, after machine.sh: makes apt know the packages of every major in PG_MAJORS.
# What the base lacks comes from the older releases of Debian that PG_DEBIAN names (of other packages only what the base has no
# package of that name for, so that nothing in it changes), else from the PostgreSQL project's archive.
missing_major() {
    for major in $PG_MAJORS; do apt-cache show "postgresql-$major" >/dev/null 2>&1 || echo "$major"; done | head -n 1
}

own=$(. /etc/os-release && echo "$VERSION_CODENAME")
for release in ${PG_DEBIAN:-}; do
    [ -n "$(missing_major)" ] || break
    for file in /etc/apt/sources.list "$SOURCES"/*; do
        if grep -qs "\b$own\b" "$file"; then sed "s/\b$own\b/$release/g" "$file" >"$SOURCES/$release-${file##*/}"; fi
    done
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n\n' "$release" "$release-security" "$release-updates" >"/etc/apt/preferences.d/$release"
    apt-get update -q
done
if [ -n "$(missing_major)" ]; then
    apt-get install -q -y --no-install-recommends ca-certificates postgresql-common
    /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y -f "$SOURCES/pgdg.sources" "$own"
fi
