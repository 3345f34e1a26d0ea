{{- /* Names. Objects of the two components are <fullname>-node and <fullname>-controller. */ -}}
{{- define "stratum.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "stratum.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- else if contains (include "stratum.name" .) .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "stratum.name" .) | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stratum.nodeServiceAccount" -}}{{ include "stratum.fullname" . }}-node{{- end -}}
{{- define "stratum.controllerServiceAccount" -}}{{ include "stratum.fullname" . }}-controller{{- end -}}

{{- define "stratum.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "stratum.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: stratum
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "stratum.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stratum.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* The driver's name is part of every volume that exists: it is no value. */ -}}
{{- define "stratum.driver" -}}stratum.csi.dev{{- end -}}
{{- define "stratum.pluginDir" -}}{{ .Values.kubeletDir }}/plugins/{{ include "stratum.driver" . }}{{- end -}}

{{- /* An image of values {repository, tag, digest}. */ -}}
{{- define "stratum.imageOf" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "stratum.image" -}}
{{- $why := "image.repository is not set, and no image of Stratum is published. Build one and push it where your nodes pull from:\n\n    podman build -t registry.example.com/stratum:0.1.0 .      # in a checkout of Stratum; docker and buildah do as well\n    podman push registry.example.com/stratum:0.1.0\n    helm install stratum charts/stratum --set image.repository=registry.example.com/stratum\n" | replace "0.1.0" .Chart.AppVersion -}}
{{- $repository := required $why .Values.image.repository -}}
{{- include "stratum.imageOf" (dict "repository" $repository "tag" (default .Chart.AppVersion .Values.image.tag) "digest" .Values.image.digest) -}}
{{- end -}}

{{- /* The answer to a value true, false or auto: "true" or nothing. Takes {value, api, root}. */ -}}
{{- define "stratum.enabled" -}}
{{- if eq (toString .value) "auto" -}}
{{- if .root.Capabilities.APIVersions.Has .api -}}true{{- end -}}
{{- else if .value -}}true{{- end -}}
{{- end -}}

{{- define "stratum.snapshots" -}}
{{- include "stratum.enabled" (dict "value" .Values.snapshotter.enabled "api" "snapshot.storage.k8s.io/v1" "root" .) -}}
{{- end -}}

{{- /* For containers that need no privileges. */ -}}
{{- define "stratum.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "stratum.fieldEnv" -}}
- name: {{ .name }}
  valueFrom: {fieldRef: {fieldPath: {{ .path }}}}
{{- end -}}
