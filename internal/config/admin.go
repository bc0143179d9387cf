package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
)

// Admin is from where a deployment's machines are administered.
type Admin struct {
	// CIDRs are the networks from which bought machines take SSH, in their clouds' firewalls; none: from everywhere.
	CIDRs []string
}

var adminKeys = []key[Admin]{
	field("cidrs", "The networks from which the clouds' firewalls let SSH in, as 192.0.2.0/24 or 2001:db8::/64; from everywhere where nothing is said.",
		distinct(many(cidrRule(), 1, 16, "must name one at least: nobody could log in to a machine otherwise")),
		func(a *Admin) *[]string { return &a.CIDRs }),
}

// cidrRule is a network as the clouds take it: one that starts at its own first address, and is written as everybody does.
func cidrRule() rule[string] {
	const form = `^[0-9a-f.:]+/(0|[1-9][0-9]{0,2})$`
	match := regexp.MustCompile(form)
	return rule[string]{schema: schema{"type": "string", "pattern": form, "maxLength": 43}, read: func(w *walk, path string, n node) string {
		if n.kind != text {
			w.expected(path, n, text, "")
			return ""
		}
		network, err := netip.ParsePrefix(n.text)
		address, alone := netip.ParseAddr(n.text)
		switch {
		case alone == nil && address.Zone() == "":
			w.report(n.at, path, quote(n.text)+" is an address and not a network", fmt.Sprintf("did you mean %q?", netip.PrefixFrom(address, address.BitLen())))
		case err != nil || network.Addr().Is4In6():
			w.report(n.at, path, quote(n.text)+" is not a network: an address, a slash and a number of bits, as 192.0.2.0/24 or 2001:db8::/64", "")
		case network.Masked().String() != n.text || !match.MatchString(n.text):
			w.report(n.at, path, quote(n.text)+" is not how the network is written that starts at its own first address", fmt.Sprintf("did you mean %q?", network.Masked()))
		}
		return n.text
	}}
}

// admin reports networks of administrators where there is no cloud's firewall to let them in.
func (w *walk) admin(d Deployment, root node) {
	if len(d.Admin.CIDRs) == 0 {
		return
	}
	for _, h := range d.hosts(root) {
		if p := d.ProviderOf(h.Machine); !h.invited && p != ProviderLocal && p != ProviderSSH {
			return
		}
	}
	at := root.at1("admin")
	w.report(at.at1("cidrs").at, "admin.cidrs", "no host is bought, and only a cloud's firewall follows it", "remove it")
}

func renderAdmin(b *bytes.Buffer, a Admin) {
	if len(a.CIDRs) == 0 {
		return
	}
	b.WriteString("\n# From where the clouds' firewalls let SSH in.\nadmin:\n  cidrs:\n")
	for _, c := range a.CIDRs {
		fmt.Fprintf(b, "    - %s\n", scalar(c))
	}
}
