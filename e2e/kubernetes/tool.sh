#!/bin/bash
# Prints the path of a built program. usage: tool.sh NAME
. "$(dirname "$(realpath "$0")")/lib.sh"
need "$1"
echo "$bin/$1"
