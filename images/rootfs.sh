#!/bin/sh
# Copies what Debian packages installed into a root file system of their own, without a shell and a package manager:
# Python with what it needs, and the packages that are named. Its users are root and the one given.
# usage: rootfs.sh ROOT USER:UID:GID [PACKAGE...]
set -eu
root=$1 user=${2%%:*} ids=${2#*:}
shift 2
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
set -- base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 "libpython$version-minimal" \
    "libpython$version-stdlib" libssl3 libuuid1 media-types "python$version-minimal" python3-minimal zlib1g "$@"
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc/ssl/certs" "$root/var/lib/dpkg/status.d" "$root/proc" "$root/sys" "$root/dev"
for name in bin sbin lib lib64; do ln -sfn "usr/$name" "$root/$name"; done
mkdir -p -m 1777 "$root/tmp"

for package in "$@"; do
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"  # where scanners look
    dpkg-query --listfiles "$package" | while read -r file; do
        case $file in
        /usr/share/doc/*/copyright) ;;
        /usr/share/doc/* | /usr/share/man/* | /usr/share/locale/* | /usr/share/lintian/* | /usr/share/python3/*) continue ;;
        /etc/init.d/* | /etc/default/* | /etc/update-motd.d/* | /usr/share/bug/* | /usr/share/gcc/* | */gconv/*) continue ;;
        esac
        if [ -L "$file" ] || [ -f "$file" ]; then echo "${file#/}"; fi
    done
done | tar --directory=/ --create --no-recursion --files-from=- | tar --directory="$root" --extract --keep-directory-symlink
printf 'root:x:0:0::/:/sbin/nologin\n%s:x:%s::/tmp:/sbin/nologin\n' "$user" "$ids" >"$root/etc/passwd"
printf 'root:x:0:\n%s:x:%s:\n' "$user" "${ids#*:}" >"$root/etc/group"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
