{{/*
The message server's configuration. Who may publish and listen where follows the table VERBS of
crates/contracts/src/subjects.rs; a test compares the two.
*/}}

{{/* List of strings as NATS writes it: takes a list. */}}
{{- define "consilium.nats.list" -}}
[{{ range $i, $s := . }}{{ if $i }}, {{ end }}{{ $s | quote }}{{ end }}]
{{- end -}}

{{/*
One user: takes (dict "root" $ "component" "ingest" "own" [...] "publish" [...] "subscribe" [...]), subjects
without the common prefix; "*" in front = every organisation.
*/}}
{{- define "consilium.nats.user" -}}
{{- $channel := printf "consilium.%s" .root.Values.channel -}}
{{- $organisation := include "consilium.organisation" .root -}}
{{- $publish := list (printf "%s.*.blob.*.*" $channel) -}}
{{- range .publish -}}
{{- $publish = append $publish (printf "%s.%s" $channel (hasPrefix "*." . | ternary . (printf "%s.%s" $organisation .))) -}}
{{- end -}}
{{- $subscribe := list (printf "%s.%s.blob.%s.*" $channel $organisation .component) (printf "_INBOX.%s.>" .component) -}}
{{- range .subscribe -}}
{{- $subscribe = append $subscribe (printf "%s.%s" $channel (hasPrefix "*." . | ternary . (printf "%s.%s" $organisation .))) -}}
{{- end -}}
{ user: "{{ $organisation }}.{{ .component }}", password: ${{ upper .component }}_PASSWORD, permissions: {
  publish: { allow: {{ include "consilium.nats.list" $publish }} }
  subscribe: { allow: {{ include "consilium.nats.list" $subscribe }} }
  allow_responses: { max: 1, expires: "2m" }
} }
{{- end -}}

{{- define "consilium.nats.users" -}}
users: [
  {{- include "consilium.nats.user" (dict "root" . "component" "ingest"
        "publish" (list "validate.check" "*.validate.attest" "validate.schema" "consensus.submit" "consensus.find"
          "consensus.state" "consensus.head" "keys.class" "keys.policy" "keys.open" "keys.erased" "audit.append" "*.ingest.exchange")
        "subscribe" (list "consensus.committed" "ingest.exchange")) | nindent 2 }}
  {{- include "consilium.nats.user" (dict "root" . "component" "validate"
        "publish" (list "consensus.state" "consensus.head" "audit.append")
        "subscribe" (list "validate.check" "validate.attest" "validate.schema")) | nindent 2 }}
  {{- include "consilium.nats.user" (dict "root" . "component" "consensus"
        "publish" (list "consensus.head" "*.consensus.sync" "consensus.gossip" "consensus.committed" "audit.append")
        "subscribe" (list "consensus.submit" "consensus.find" "consensus.state" "consensus.head" "consensus.block"
          "consensus.tile" "consensus.checkpoint" "consensus.sync" "*.consensus.gossip" "*.consensus.gossip.via.*")) | nindent 2 }}
  {{- include "consilium.nats.user" (dict "root" . "component" "keys"
        "publish" (list "consensus.state" "consensus.head" "audit.append")
        "subscribe" (list "keys.class" "keys.policy" "keys.open" "keys.erased")) | nindent 2 }}
  {{- include "consilium.nats.user" (dict "root" . "component" "audit"
        "publish" (list "consensus.submit" "consensus.find" "consensus.state" "consensus.head" "consensus.block"
          "consensus.tile" "consensus.checkpoint")
        "subscribe" (list "consensus.committed" "audit.append")) | nindent 2 }}
]
{{- end -}}

{{/* What never leaves the organisation's account, whatever a hub asks for. */}}
{{- define "consilium.nats.inside" -}}
{{- $prefix := printf "consilium.%s.%s" .Values.channel (include "consilium.organisation" .) -}}
{{- $subjects := list -}}
{{- range list "validate.check" "validate.schema" "consensus.submit" "consensus.find" "consensus.state"
      "consensus.head" "consensus.block" "consensus.tile" "consensus.checkpoint" "consensus.committed" "keys.class"
      "keys.policy" "keys.open" "keys.erased" "audit.append" -}}
{{- $subjects = append $subjects (printf "%s.%s" $prefix .) -}}
{{- end -}}
{{ include "consilium.nats.list" $subjects }}
{{- end -}}

{{/*
What a hub may not hand over: what stays inside, and other hubs' labels. takes (dict "root" $ "hub" NAME). Thus a label
says the truth about the hub that it names, whatever the others do.
*/}}
{{- define "consilium.nats.refused" -}}
{{- $subjects := include "consilium.nats.inside" .root | fromJsonArray -}}
{{- $labels := list -}}
{{- range .root.Values.nats.leaf.remotes -}}
{{- $labels = append $labels .hub -}}
{{- end -}}
{{- if .root.Values.nats.hub.enabled -}}
{{- $labels = append $labels (include "consilium.organisation" .root) -}}
{{- end -}}
{{- range without ($labels | uniq) .hub -}}
{{- $subjects = append $subjects (printf "consilium.%s.*.consensus.gossip.via.%s" $.root.Values.channel .) -}}
{{- end -}}
{{ include "consilium.nats.list" $subjects }}
{{- end -}}

{{/*
Exports and imports of one member's account on a hub: takes (dict "root" $ "member" NAME). What is published gets the
hub's label.
*/}}
{{- define "consilium.nats.crossing" -}}
{{- $root := .root -}}
{{- $member := .member -}}
{{- $others := without $root.Values.nats.hub.members $member -}}
{{- $services := list "blob.*.*" "validate.attest" "consensus.sync" "ingest.exchange" -}}
{{- $streams := list "consensus.gossip" -}}
{{- $label := printf "via.%s" (include "consilium.organisation" $root) -}}
exports: [
{{- range $services }}
  { service: "consilium.{{ $root.Values.channel }}.{{ $member }}.{{ . }}", accounts: {{ include "consilium.nats.list" $others }} }
{{- end }}
{{- range $streams }}
  { stream: "consilium.{{ $root.Values.channel }}.{{ $member }}.{{ . }}", accounts: {{ include "consilium.nats.list" $others }} }
{{- end }}
]
imports: [
{{- range $other := $others }}
{{- range $services }}
  { service: { account: "{{ $other }}", subject: "consilium.{{ $root.Values.channel }}.{{ $other }}.{{ . }}" } }
{{- end }}
{{- range $streams }}
  { stream: { account: "{{ $other }}", subject: "consilium.{{ $root.Values.channel }}.{{ $other }}.{{ . }}" }, to: "consilium.{{ $root.Values.channel }}.{{ $other }}.{{ . }}.{{ $label }}" }
{{- end }}
{{- end }}
]
{{- end -}}

{{- define "consilium.nats.conf" -}}
{{- $name := printf "%s-nats" (include "consilium.fullname" .) -}}
{{- $organisation := include "consilium.organisation" . -}}
server_name: $POD_NAME
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
pid_file: "/run/nats/nats.pid"
max_payload: {{ .Values.nats.maxPayload | int64 }}
lame_duck_grace_period: "5s"
lame_duck_duration: "30s"
{{- if gt (int .Values.nats.replicas) 1 }}
cluster {
  name: {{ $name | quote }}
  listen: "0.0.0.0:6222"
  routes: [
    {{- range $i := until (int .Values.nats.replicas) }}
    "nats://{{ $name }}-{{ $i }}.{{ $name }}-peers:6222"
    {{- end }}
  ]
}
{{- end }}
accounts {
  "{{ $organisation }}" {
    {{- include "consilium.nats.users" . | nindent 4 }}
    {{- if .Values.nats.hub.enabled }}
    {{- include "consilium.nats.crossing" (dict "root" . "member" $organisation) | nindent 4 }}
    {{- end }}
  }
  {{- if .Values.nats.hub.enabled }}
  {{- range without .Values.nats.hub.members $organisation }}
  "{{ . }}" {
    {{- include "consilium.nats.crossing" (dict "root" $ "member" .) | nindent 4 }}
  }
  {{- end }}
  {{- end }}
  SYSTEM { users: [] }
}
system_account: SYSTEM
{{- if or .Values.nats.leaf.remotes .Values.nats.hub.enabled }}
leafnodes {
  {{- if .Values.nats.hub.enabled }}
  listen: "0.0.0.0:7422"
  tls { cert_file: "/run/secrets/nats/tls/tls.crt", key_file: "/run/secrets/nats/tls/tls.key" }
  authorization {
    users: [
      {{- range $i, $member := .Values.nats.hub.members }}
      {{- if ne $member $organisation }}
      { user: "{{ $member }}", password: $HUB_{{ $i }}_PASSWORD, account: "{{ $member }}" }
      {{- end }}
      {{- end }}
    ]
  }
  {{- end }}
  {{- with .Values.nats.leaf.remotes }}
  remotes: [
    {{- range $i, $remote := . }}
    { url: $LEAF_{{ $i }}_URL, account: "{{ $organisation }}"
      tls { ca_file: "/etc/nats-ca/ca.crt" }
      deny_imports: {{ include "consilium.nats.refused" (dict "root" $ "hub" $remote.hub) }}
      deny_exports: {{ include "consilium.nats.inside" $ }} }
    {{- end }}
  ]
  {{- end }}
}
{{- end }}
{{- end -}}
