package underlay

import (
	"net/netip"
	"regexp"
	"strings"
)

// addressy finds whatever could be an address, with its brackets, zone and port, and characters around it that could
// belong to it.
var addressy = regexp.MustCompile(`\[?(?:[0-9A-Fa-f]*[.:]){2,}[0-9A-Fa-f]*(?:%[\w.-]+)?\]?(?::\d+)?`)

// Redact takes addresses out of a text that others wrote, but for those inside the mesh; the zero prefix keeps none. It
// rather takes too much: what only looks like an address is taken too.
func Redact(text string, mesh netip.Prefix) string {
	return addressy.ReplaceAllStringFunc(text, func(s string) string {
		stem := strings.TrimRight(s, ".:") // what follows may be of the sentence
		for end := len(s); end >= len(stem); end-- {
			if a, ok := parse(s[:end]); ok {
				if a.IsUnspecified() || mesh.IsValid() && mesh.Contains(a) {
					return s
				}
				return "(address)" + s[end:]
			}
		}
		if strings.Count(stem, ".") < 3 && strings.Count(stem, ":") < 3 && !strings.Contains(s, "::") {
			return s // a line of a source file, a time
		}
		return "(address)"
	})
}

// parse reads an address with or without a port.
func parse(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a, true
	}
	a, err := netip.ParseAddrPort(s)
	return a.Addr(), err == nil
}
