#!/bin/bash
# A user of another name, so that the API server's audit log tells who asked: an administrator, or of the group GROUP.
# usage: user.sh DIR NAME [GROUP] → DIR/pki/NAME.conf
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
. ./address
leaf "$2" "/O=${3:-system:masters}/CN=$2"
kubeconfig "$2" "pki/$2.conf"
