#!/usr/bin/env bash
# Runs HL7's own validation engine as a peer of our benchmark; what to ask it stands in Peer.java.
#
#   e2e/peers/java-validator/run.sh PACKAGE|- FILE...
#
# Fetches the jars on first use (Maven, from Maven Central) and checks each against jars.sha256. Exit status 3: Java or
# Maven is not installed. Only benchmarks run this.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${CONSILIUM_TOOLS:-$here/../../../.tools}/java-validator
for tool in java javac mvn; do
  command -v "$tool" >/dev/null || { echo "java-validator: $tool is not installed" >&2; exit 3; }
done
intact() { (cd "$tools/jars" 2>/dev/null && sha256sum --check --strict --status "$here/jars.sha256"); }
if ! intact; then
  rm -rf "$tools"
  mkdir -p "$tools"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools/jars" >&2
  intact || { echo "java-validator: the jars are not those of jars.sha256" >&2; exit 1; }
fi
mkdir -p "$tools/classes"
javac -cp "$tools/jars/*" -d "$tools/classes" "$here/Peer.java"
exec java -Xmx2g -cp "$tools/classes:$tools/jars/*" Peer "$@"
