#!/bin/sh
# Adds this machine to a Doorward gateway: fetches the program from there, checks it, joins by an invite, and has the agent
# start with the machine.
#
#   sh add.sh URL                  for this user, or for the machine if root runs it
#   sh add.sh URL --run            joins, and runs the agent here instead
#   sh add.sh URL --only FILE      only puts the program there
#
# The invite is asked for, or read from standard input; it never stands on a command line. What the gateway serves is
# believed by its SHA-256 alone (below), so whoever checked this file needs to know no certificate.
set -eu

builds='@BUILDS@'

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "doorward: $*"
    exit 1
}

# The kind of this machine, as the list has it.
kind() {
    machine=$(uname -m)
    # A kernel of 64 bits may carry a system of 32.
    case "$machine-$(getconf LONG_BIT 2>/dev/null || echo unknown)" in
        x86_64-32 | i?86-*) echo x86 ;;
        aarch64-32 | arm64-32 | arm*l-* | arm-*) echo arm ;;
        amd64-*) echo x86_64 ;;
        arm64-*) echo aarch64 ;;
        *) echo "$machine" ;;
    esac
}

fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsSLk -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q --no-check-certificate -O "$2" "$1"
    else
        fail "there is neither curl nor wget here"
    fi
}

# Where programs belong for whoever runs this.
place() {
    if [ "$(id -u)" != 0 ]; then
        echo "$HOME/.local/bin/doorward"
    elif [ -f /etc/openwrt_release ]; then
        echo /usr/bin/doorward
    else
        echo /usr/local/bin/doorward
    fi
}

# Puts the program there, whole or not at all.
put() {
    arch=$(kind)
    wanted=$(printf '%s\n' "$builds" | sed -n "s/^$arch //p")
    [ -n "$wanted" ] || fail "the gateway has no build for this machine ($arch). Put one into its data directory as \
builds/doorward-$arch, and take the line from its page again"
    if [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$wanted  -" ]; then
        say "The program is there already: $1"
        return
    fi
    folder=$(dirname "$1")
    mkdir -p "$folder"
    new=$(mktemp "$folder/.doorward.XXXXXX")
    trap 'rm -f "$new"' EXIT
    fetch "$from/builds/doorward-$arch" "$new" || fail "$from/builds/doorward-$arch cannot be fetched"
    [ "$(sha256sum <"$new")" = "$wanted  -" ] || fail "what was fetched is not what the page promised; nothing was changed"
    chmod 755 "$new"
    "$new" --version >/dev/null || fail "this build does not run here; put another into the gateway's data directory as \
builds/doorward-$arch (one that is linked statically runs everywhere)"
    mv -f "$new" "$1"
    say "The program is $1"
}

join() {
    state=${XDG_STATE_HOME:-$HOME/.local/state}/doorward/agent
    [ "$(id -u)" != 0 ] || state=/var/lib/doorward/agent
    if [ -e "$state/main/site.json" ]; then
        say "This machine has joined a gateway already ($state)."
    elif [ -t 0 ] || [ -n "${DOORWARD_INVITE-}" ]; then
        "$1" join
    else
        "$1" join -
    fi
}

from=${1:?the address of the portal}
from=${from%/}
case ${2-} in
    --only)
        put "${3:?a file}"
        ;;
    --run)
        program=$(place)
        put "$program"
        join "$program"
        exec "$program" agent
        ;;
    '')
        program=$(place)
        put "$program"
        join "$program"
        "$program" install agent || say "
The agent does not start with this machine by itself yet. Run it now:

    $program agent"
        ;;
    *)
        fail "\"$2\" is not known"
        ;;
esac
