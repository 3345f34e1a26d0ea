{{- /*
What all admission policies share. Conventions:
- `reason: Forbidden` (HTTP 403): without it a refusal is 422 Invalid, which clients and sidecars take for a broken object.
- At most two authorizer checks fit into one expression (350,000 of 1,000,000 units each): one check for each variable, variables count by themselves.
- On DELETE `object` is null and the old one is in oldObject; on CREATE the other way round.
- `request` has no subResource where there is none, extra no node-name: `.?` there too. An optional index is m[?'key'].
- An error in an expression (a key that is not there) refuses the request (failurePolicy Fail): every optional field is guarded by `.?…orValue()`.
*/ -}}

{{- /* The binding of a policy to the whole cluster. Arguments: the root, the policy's short name. */ -}}
{{- define "stratum.policyBinding" -}}
{{- $name := printf "%s-%s" (include "stratum.fullname" (index . 0)) (index . 1) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "stratum.labels" (index . 0) | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}

{{- /* Head of a policy. Arguments: the root, the policy's short name. */ -}}
{{- define "stratum.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "stratum.fullname" (index . 0) }}-{{ index . 1 }}
  labels:
    {{- include "stratum.labels" (index . 0) | nindent 4 }}
{{- end -}}

{{- /* Whether a request comes from one of our tokens. Arguments: the root, node or controller. */ -}}
{{- define "stratum.requestBy" -}}
name: by-the-{{ index . 1 }}
expression: "request.userInfo.username == 'system:serviceaccount:{{ (index . 0).Release.Namespace }}:{{ include "stratum.fullname" (index . 0) }}-{{ index . 1 }}'"
{{- end -}}

{{- /* The node that a token belongs to: in every token of a pod since 1.32, of a node since 1.33. '?' without; nothing is allowed then. */ -}}
{{- define "stratum.requestNode" -}}
name: node
expression: "request.userInfo.?extra['authentication.kubernetes.io/node-name'].orValue(['?'])[0]"
{{- end -}}
