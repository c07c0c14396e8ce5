#!/bin/sh
# Copies what Debian packages installed into a root file system of their own, without a shell and a package manager.
# Where a program or library in it needs a library that is not there, the build fails and names it.
# usage: rootfs.sh ROOT PACKAGE...
set -eu
root=$1
shift
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
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
