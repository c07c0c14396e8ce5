#!/bin/sh
# The Python part of an image, below ROOT. Bytecode is never checked against its source, which nobody changes in an image.
# usage: python.sh standard-library ROOT      what a program without a terminal and a shell never imports goes; compiled
#        python.sh dependencies ROOT FILE     pinned distributions, without pip, tests and sources of extension modules; compiled
#        python.sh howdah ROOT SOURCE NAME... the package howdah, compiled, and a program for each NAME=MODULE:FUNCTION
set -eu
verb=$1 root=$2
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
place=/usr/local/lib/python$version/dist-packages

compile() { python3 -m compileall -q --invalidation-mode unchecked-hash -s "$root" -p / "$root$1"; }

case $verb in
standard-library)
    library=/usr/lib/python$version
    for name in curses dbm distutils ensurepip idlelib lib2to3 pydoc_data sqlite3 test tkinter turtledemo; do rm -rf "$root$library/$name"; done
    for name in _curses _curses_panel _dbm _sqlite3 _tkinter nis ossaudiodev readline; do rm -f "$root$library/lib-dynload/$name".*; done
    compile "$library"
    ;;
dependencies)
    . "$(dirname "$0")/machine.sh"
    mkdir -p "$root$place"
    python3 -m pip install --quiet --no-cache-dir --no-compile --no-build-isolation --require-hashes --target "$root$place" --requirement "$3"
    rm -rf "$root$place/bin"
    find "$root$place" -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} +
    find "$root$place" -type f \( -name '*.py[xi]' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.[ch]' \) -delete
    compile "$place"
    ;;
howdah)
    mkdir -p "$root$place" "$root/usr/local/bin"
    cp -r "$3" "$root$place/howdah"
    chmod -R u=rwX,go=rX "$root$place/howdah"  # whatever the umask of the checkout was
    compile "$place/howdah"
    shift 3
    for program in "$@"; do
        target=${program#*=}
        printf '#!/usr/bin/python3 -P\nfrom %s import %s\n%s()\n' "${target%:*}" "${target#*:}" "${target#*:}" >"$root/usr/local/bin/${program%%=*}"
        chmod 755 "$root/usr/local/bin/${program%%=*}"
    done
    ;;
esac
