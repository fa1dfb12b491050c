{{/*
One alert: name, expr, for, severity, summary, and the part whose series it looks at. Its runbook is docs/runbooks/NAME.md.
Prometheus' own templates are in summary as [[...]], since Helm would take them for its own.
*/}}
{{- define "serval.alert" -}}
- alert: {{ .name }}
  expr: {{ .expr | quote }}
  for: {{ .for }}
  labels:
    severity: {{ .severity }}
  annotations:
    summary: {{ .summary | replace "[[" "{{" | replace "]]" "}}" | quote }}
    runbook_url: {{ .root.Values.monitoring.prometheusRule.runbooks }}/{{ .name }}.md
{{- end -}}
