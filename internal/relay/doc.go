// Package relay carries tunnel packets over TLS for members whose UDP is blocked: a switch on a sentry's opt-in port
// and the local end that looks like a UDP peer. The relay sees ciphertext only.
package relay
