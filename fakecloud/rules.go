package fakecloud

import (
	"crypto/md5" // what clouds call a key's fingerprint
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Rules that more than one cloud has.

// hostname is RFC 1123's: labels of letters, digits and inner hyphens, at most 63 each and 253 together.
var hostname = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

func checkHostname(what, name string) error {
	if len(name) > 253 || !hostname.MatchString(name) {
		return fmt.Errorf("%s %q is not a valid hostname (invalid_input)", what, name)
	}
	return nil
}

// label keys and values as Kubernetes has them: https://docs.hetzner.cloud/reference/cloud#labels
var (
	labelKey   = regexp.MustCompile(`^([a-z0-9A-Z]([a-z0-9A-Z.-]{0,251}[a-z0-9A-Z])?/)?[a-z0-9A-Z]([a-z0-9A-Z_.-]{0,61}[a-z0-9A-Z])?$`)
	labelValue = regexp.MustCompile(`^([a-z0-9A-Z]([a-z0-9A-Z_.-]{0,61}[a-z0-9A-Z])?)?$`)
)

func checkLabels(config object) error {
	labels, _ := config["labels"].(object)
	for k, v := range labels {
		if !labelKey.MatchString(k) {
			return fmt.Errorf("label key %q is not correctly formatted", k)
		}
		if v != unknown && !labelValue.MatchString(text(v)) {
			return fmt.Errorf("label value %q (key: %s) is not correctly formatted", text(v), k)
		}
	}
	return nil
}

// checkNetworks refuses what is no network, and a network with bits after its prefix.
func checkNetworks(values []any) error {
	for _, v := range values {
		if v == nil || v == unknown {
			continue
		}
		p, err := netip.ParsePrefix(text(v))
		if err != nil {
			if _, ip := netip.ParseAddr(text(v)); ip == nil {
				continue
			}
			return fmt.Errorf("invalid CIDR address: %s", text(v))
		}
		if p.Masked() != p {
			return fmt.Errorf("%s is not the start of the cidr block %s", text(v), p.Masked())
		}
	}
	return nil
}

// checkPorts takes 80, 80-85 and, where the cloud has it, any.
func checkPorts(v any) error {
	from, to, ranged := strings.Cut(text(v), "-")
	if text(v) == "any" || text(v) == "all" || v == unknown {
		return nil
	}
	if !ranged {
		to = from
	}
	if number(from) < 1 || number(to) > 65535 || number(from) > number(to) {
		return fmt.Errorf("port %q is not a port or a range of ports (invalid_input)", text(v))
	}
	return nil
}

func oneOf(what string, v any, allowed ...string) error {
	if v == nil || v == unknown || slices.Contains(allowed, text(v)) {
		return nil
	}
	return fmt.Errorf("expected %s to be one of %q, got %s", what, allowed, text(v))
}

// oneOfFold is oneOf for clouds that do not mind capitals.
func oneOfFold(what string, v any, allowed ...string) error {
	if slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, text(v)) }) {
		return nil
	}
	return oneOf(what, v, allowed...)
}

func between(what string, v any, low, high float64) error {
	if n := number(v); v != nil && v != unknown && (n < low || n > high) {
		return fmt.Errorf("expected %s to be in the range (%g - %g), got %s", what, low, high, text(v))
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// publicKey checks a line of a public key file and tells its fingerprint.
func publicKey(v any) (string, error) {
	fields := strings.Fields(text(v))
	if len(fields) < 2 {
		return "", fmt.Errorf("SSH key is invalid: %q is not a line of a public key file (invalid_input)", text(v))
	}
	raw, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(raw) < 32 {
		return "", fmt.Errorf("SSH key is invalid: its second word is not a key (invalid_input)")
	}
	sum := md5.Sum(raw) // see the import
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02x", b)
	}
	return strings.Join(parts, ":"), nil
}

func checkKey(attr string) func(*change) error {
	return func(c *change) error {
		_, err := publicKey(c.planned[attr])
		return err
	}
}

func fillKey(attr string) func(*change) {
	return func(c *change) {
		print, _ := publicKey(c.planned[attr])
		c.set("fingerprint", print)
	}
}

// given is the row of a catalogue with that value; nil where there is none.
func (c *cloud) row(catalogue, key string, v any) object {
	for _, o := range c.given[catalogue] {
		if text(o[key]) == text(v) {
			return o
		}
	}
	return nil
}

// inCatalogue refuses what the cloud does not have.
func (c *change) inCatalogue(attr, catalogue, key string) error {
	v := c.planned[attr]
	if text(v) == "" || c.p.cloud.row(catalogue, key, v) != nil {
		return nil
	}
	return fmt.Errorf("%s %q of %s %q does not exist (invalid_input)", attr, text(v), c.typ, c.named())
}

// having are the objects of a type that have v at a path.
func (w *world) having(typ, path string, v any) []object {
	var out []object
	for _, o := range w.all(typ) {
		if slices.Contains(texts(at(o, path)), text(v)) {
			out = append(out, o)
		}
	}
	return out
}

func numbered(_ string, n int64) string { return text(n) }

func uuid(_ string, n int64) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n) }

// names makes rows of a catalogue out of words.
func names(key, words string) []object {
	var out []object
	for _, w := range strings.Fields(words) {
		out = append(out, object{key: w})
	}
	return out
}

// credential refuses a configuration whose attribute has no value, in the environment either, or one that was revoked: a
// value with that word in it, so that tests can try it.
func credential(config object, env func(string) string, attr string, variables ...string) error {
	v := text(config[attr])
	for _, name := range variables {
		if v == "" {
			v = env(name)
		}
	}
	switch {
	case config[attr] == unknown:
		return nil
	case v == "":
		return fmt.Errorf("%s is missing: set %s", attr, strings.Join(variables, " or "))
	case strings.Contains(v, "revoked"):
		return fmt.Errorf("the cloud does not take this %s (HTTP 401, unauthorized)", attr)
	}
	return nil
}

func ids(objects []object) []any {
	out := []any{}
	for _, o := range objects {
		out = append(out, o["id"])
	}
	return out
}

// namesOf are the names of the objects that there are, each once, in order.
func namesOf(attr string, objects []object) []string {
	out := []string{}
	for _, o := range objects {
		if o != nil && !slices.Contains(out, text(o[attr])) {
			out = append(out, text(o[attr]))
		}
	}
	slices.Sort(out)
	return out
}

// familyOf reads an address's family from an attribute that says v4, ipv4, inet4 or the same with a 6.
func familyOf(attr string) func(*world, object) []string {
	return func(_ *world, o object) []string {
		if strings.HasSuffix(text(o[attr]), "6") {
			return []string{"ipv6"}
		}
		return []string{"ipv4"}
	}
}
