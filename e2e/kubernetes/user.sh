#!/bin/bash
# An administrator of another name, so that the API server's audit log tells who asked. usage: user.sh DIR NAME → DIR/pki/NAME.conf
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
. ./address
leaf "$2" "/O=system:masters/CN=$2"
kubeconfig "$2" "pki/$2.conf"
