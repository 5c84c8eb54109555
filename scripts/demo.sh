#!/usr/bin/env bash
# Hospitals on this machine with patients and one consent, until Ctrl-C:
#
#   scripts/demo.sh [DIR [HOSPITALS [PATIENTS]]]
#
# The folder stays: the next run goes on with what is in it. CONSILIUM is the command (default: target/debug/consilium).
set -euo pipefail

dir=${1:-.demo}
hospitals=${2:-4}
patients=${3:-20}
consilium=${CONSILIUM:-target/debug/consilium}

# Started first, so that whatever was started is stopped, however this ends.
trap 'trap "" INT TERM; echo; echo "stopping the hospitals"; "$consilium" down --dir "$dir" || true' EXIT
trap 'exit 0' INT TERM

"$consilium" up --orgs "$hospitals" --dir "$dir"

field() { python3 -c 'import json,sys; print(eval("d"+sys.argv[1], {"d": json.load(sys.stdin)}))' "$1"; }
port() { field "['organisations'][$1]['port']" <"$dir/consortium.json"; }
a=http://127.0.0.1:$(port 0)
b=http://127.0.0.1:$(port 1)
desk=$(port 0)
token_a=$("$consilium" token --dir "$dir" --org hospital-a --sub ehr-a)
token_b=$("$consilium" token --dir "$dir" --org hospital-b --sub dr-b --role clinician --user Practitioner/b1 --scope 'user/*.rs')

echo "loading $patients patients at hospital-a"
"$consilium" sample --patients "$patients" --out "$dir/sample"
"$consilium" load "$dir/sample" --to "$a/fhir" --token "$token_a" --resume "$dir/loaded.txt"

patient=$(curl -fsS -H "Authorization: Bearer $token_a" "$a/fhir/Patient?_count=1" | field "['entry'][0]['resource']['id']")
if [ ! -e "$dir/consent.txt" ]; then
  "$consilium" consent grant --patient "$patient" --to hospital-b --at "$a/fhir" --token "$token_a" | tee "$dir/consent.txt"
fi
printf '%s' "$token_a" >"$dir/token-a"
printf '%s' "$token_b" >"$dir/token-b"
chmod 600 "$dir/token-a" "$dir/token-b"

cat <<END

Consilium runs: $hospitals hospitals, $patients patients at hospital-a, one of whom lets hospital-b read.

  dashboard of hospital-a   http://127.0.0.1:$((desk + 1))/   user officer, password $(cat "$dir/hospital-a/secrets/officer.password")
  FHIR endpoint             $a/fhir   ($a/fhir/metadata is open)

Copy and paste (the tokens are good for an hour):

  # a search at home
  curl -s -H "Authorization: Bearer \$(cat $dir/token-a)" '$a/fhir/Patient?_count=3'

  # hospital-b's clinician reads that patient at hospital-a, for treatment
  curl -s -H "Authorization: Bearer \$(cat $dir/token-b)" -H 'X-Purpose-Of-Use: TREAT' \\
    $b/exchange/hospital-a/fhir/Patient/$patient

  # prove that record to a stranger, offline
  curl -s -H "Authorization: Bearer \$(cat $dir/token-a)" '$a/fhir/Patient/$patient/_history/1/\$receipt' -o receipt.json
  $consilium verify receipt.json --genesis $dir/genesis.json

  # the patient changes her mind: then ask as hospital-b again
  $consilium consent list --patient $patient --at $a/fhir --token @$dir/token-a
  $consilium consent revoke ID --at $a/fhir --token @$dir/token-a

Ctrl-C stops everything; what was stored stays in $dir.
END
# Woken by a signal at once, which a sleep in the foreground would delay.
while true; do sleep 3600 & wait $!; done
