#!/bin/sh
# Fails where a program or library of a root file system needs a library that is not in it, and names both.
# usage: check-libraries.sh ROOT
set -eu
root=$1
loader=$(cd "$root" && ls lib64/ld-linux-*.so.* lib/ld-linux-*.so.* 2>/dev/null | head -n 1)
missing=$(find "$root/usr" -xdev -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/bin/*' -o -path '*/sbin/*' \) | while read -r file; do
    chroot "$root" "/$loader" --list "${file#"$root"}" 2>/dev/null | grep 'not found' | sed "s|^|${file#"$root"}: |" || true
done)
[ -z "$missing" ] || { echo "libraries are missing in the image:"; echo "$missing"; exit 1; } >&2
