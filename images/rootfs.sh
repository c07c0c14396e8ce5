#!/bin/sh
# Copies what Debian packages installed into a root file system of their own, without a shell and a package manager.
# usage: rootfs.sh new ROOT USER:UID:GID [PACKAGE...]   Python and the packages; its users are root and the one given
#        rootfs.sh libraries ROOT                       the packages of all libraries that programs and libraries in it need
set -eu
verb=$1 root=$2
shift 2

copy() {  # PACKAGE...
    for package in "$@"; do
        dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/${package%:*}"  # where scanners look
        dpkg-query --listfiles "$package" | while read -r file; do
            case $file in
            /usr/share/doc/*/copyright) ;;
            /usr/share/doc/* | /usr/share/man/* | /usr/share/locale/* | /usr/share/lintian/* | /usr/share/python3/*) continue ;;
            /etc/init.d/* | /etc/default/* | /etc/update-motd.d/* | /usr/share/bug/* | /usr/share/gcc/* | /usr/share/gdb/* | */gconv/*) continue ;;
            esac
            if [ -L "$file" ] || [ -f "$file" ]; then echo "${file#/}"; fi
        done
    done | tar --directory=/ --create --no-recursion --files-from=- | tar --directory="$root" --extract --keep-directory-symlink
}

missing_libraries() {  # lines: the library, and a file that needs it; the loader tells of one at a time
    loader=$(cd "$root" && ls lib64/ld-linux-*.so.* lib/ld-linux-*.so.* 2>/dev/null | head -n 1)
    find "$root/usr" -xdev -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/bin/*' -o -path '*/sbin/*' \) | while read -r file; do
        chroot "$root" "/$loader" --list "${file#"$root"}" 2>&1 >/dev/null || true
    done | sed -n 's/^\(.*\): error while loading shared libraries: \(.*\): cannot open shared object file.*/\2 \1/p' | sort --unique --key=1,1
}

case $verb in
new)
    user=${1%%:*} ids=${1#*:}
    shift
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc/ssl/certs" "$root/var/lib/dpkg/status.d" "$root/proc" "$root/sys" "$root/dev"
    for name in bin sbin lib lib64; do ln -sfn "usr/$name" "$root/$name"; done
    mkdir -p -m 1777 "$root/tmp"
    copy base-files ca-certificates libc6 libgcc-s1 "libpython$version-minimal" "libpython$version-stdlib" media-types \
        "python$version-minimal" python3-minimal "$@"  # libgcc-s1: libc asks for it when a thread is cancelled
    printf 'root:x:0:0::/:/sbin/nologin\n%s:x:%s::/tmp:/sbin/nologin\n' "$user" "$ids" >"$root/etc/passwd"
    printf 'root:x:0:\n%s:x:%s:\n' "$user" "${ids#*:}" >"$root/etc/group"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
    ;;
libraries)
    missing=$(missing_libraries)
    while [ -n "$missing" ]; do
        echo "$missing" | while read -r library user; do
            package=$(dpkg-query --search "*/$library" 2>/dev/null | sed -n '1s/: .*//p')
            [ -n "$package" ] || { echo "no package here has $library, which $user needs"; exit 1; } >&2
            echo "$package"
        done >/tmp/packages
        copy $(sort --unique /tmp/packages)
        before=$missing missing=$(missing_libraries)
        [ "$missing" != "$before" ] || { echo "still missing, though their packages are there:"; echo "$missing"; exit 1; } >&2
    done
    ;;
esac
