#!/usr/bin/env bash
# Makes the passwords of compose.yaml, once. What is there already is left as it is.
#
#   sudo deploy/make-secrets.sh [FOLDER]
set -euo pipefail

folder=${1:-$(dirname "$0")/secrets}
# The users inside of the two images: files of a composition keep their owner.
postgres_uid=999
jintuo_uid=65532

umask 077
mkdir -p "$folder"
# Passed through by the containers' users, listed by nobody else.
chmod 0711 "$folder"

put() { # FILE UID CONTENT; an argument of a function is seen by no other process
  [ ! -e "$folder/$1" ] || return 0
  printf '%s' "$3" >"$folder/$1.part"
  chown "$2:$2" "$folder/$1.part"
  chmod 0400 "$folder/$1.part"
  mv "$folder/$1.part" "$folder/$1"
}

password() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

put postgres_password "$postgres_uid" "$(password)"
for login in owner service; do
  put "${login}_password" "$postgres_uid" "$(password)"
  line="postgres:5432:jintuo:jintuo_$login:$(cat "$folder/${login}_password")"
  put "${login}_pgpass" "$jintuo_uid" "$line"$'\n'
done
printf 'secrets in %s\n' "$folder"
