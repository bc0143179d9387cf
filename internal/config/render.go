package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Render writes d as a config for people: commented, with the lines that say what it is and what differs from the defaults.
// Parse reads it back as d. If Parse would not accept d, the error is of type Problems, without positions.
func Render(d Deployment) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# A validator behind its sentries. 'pressenter config schema' prints every key.\n")
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nname: %s\n", scalar(d.APIVersion), scalar(d.Kind), scalar(d.Name))
	renderChain(&b, d.Chain)
	fmt.Fprintf(&b, "\n# Who supplies the hosts: local is this computer, ssh are servers that are there already; the others are clouds.\nprovider: %s\n", scalar(d.Provider))
	defaults := Practice("")
	if d.Validator != defaults.Validator {
		fmt.Fprintf(&b, "\nvalidator:\n  count: %d\n", d.Validator.Count)
		renderMachine(&b, "  ", d.Validator.Machine)
	}
	renderSentries(&b, d.Sentries)
	if d.Mesh != defaults.Mesh {
		fmt.Fprintf(&b, "\n# The encrypted network between our own hosts.\nmesh: {driver: %s}\n", scalar(d.Mesh.Driver))
	}
	if len(d.Devices) > 0 {
		b.WriteString("\n# Stock WireGuard devices that may look on.\ndevices:\n")
	}
	for _, v := range d.Devices {
		fmt.Fprintf(&b, "  - {name: %s, key: %q}\n", scalar(v.Name), v.Key)
	}
	if d.Upgrades != defaults.Upgrades {
		fmt.Fprintf(&b, "\n# Who agrees to an upgrade of the chain.\nupgrades: {policy: %s}\n", scalar(d.Upgrades.Policy))
	}
	if !d.Chain.Exists {
		renderPractice(&b, d.Practice, defaults.Practice)
	}
	renderAdmin(&b, d.Admin)
	w := &walk{}
	if read := parse(w, b.Bytes()); len(w.problems) == 0 && !reflect.DeepEqual(read, d) { // text that is not UTF-8
		w.report(position{}, "", "cannot be written as YAML", "")
	}
	if len(w.problems) > 0 {
		return nil, unplaced(w.problems)
	}
	return b.Bytes(), nil
}

func renderChain(b *bytes.Buffer, c Chain) {
	if c == (Chain{Name: c.Name}) {
		b.WriteString("\n# The network to validate: practice is one of your own, where nothing can be lost.\n")
		fmt.Fprintf(b, "chain: %s\n", scalar(c.Name))
		return
	}
	what := "a private practice network run by this daemon"
	if c.Exists {
		what = "one that is there already"
	}
	fmt.Fprintf(b, "\n# The network to validate: %s.\n", what)
	fmt.Fprintf(b, "chain:\n  name: %s\n  chain_id: %s\n  daemon: %s\n", scalar(c.Name), scalar(c.ChainID), scalar(c.Daemon))
	fmt.Fprintf(b, "  binary: %s\n  bech32_prefix: %s\n  denom: %s\n", scalar(c.Binary), scalar(c.Bech32Prefix), scalar(c.Denom))
	if c.Exists {
		b.WriteString("  exists: true\n")
	}
}

func renderSentries(b *bytes.Buffer, sentries []Sentry) {
	b.WriteString("\n# The nodes that meet the world. The validator talks to no others.\n")
	if len(sentries) == 0 {
		b.WriteString("sentries: []\n")
		return
	}
	b.WriteString("sentries:\n")
	for _, s := range sentries {
		if s.Machine == (Machine{}) && !s.Relay && len(s.PrivatePeers) == 0 {
			fmt.Fprintf(b, "  - {name: %s}\n", scalar(s.Name))
			continue
		}
		fmt.Fprintf(b, "  - name: %s\n", scalar(s.Name))
		renderMachine(b, "    ", s.Machine)
		if s.Relay {
			b.WriteString("    relay: true\n")
		}
		if len(s.PrivatePeers) > 0 {
			b.WriteString("    private_peers:\n")
		}
		for _, p := range s.PrivatePeers {
			fmt.Fprintf(b, "      - %s\n", scalar(p))
		}
	}
}

func renderMachine(b *bytes.Buffer, indent string, m Machine) {
	for _, line := range []struct{ key, value string }{{"provider", m.Provider}, {"address", m.Address}, {"public", m.Public}, {"region", m.Region}, {"size", m.Size}, {"volume_device", m.VolumeDevice}} {
		if line.value != "" {
			fmt.Fprintf(b, "%s%s: %s\n", indent, line.key, scalar(line.value))
		}
	}
	if m.VolumeGB != 0 {
		fmt.Fprintf(b, "%svolume_gb: %d\n", indent, m.VolumeGB)
	}
}

func renderPractice(b *bytes.Buffer, p, defaults PracticeNetwork) {
	if p == defaults {
		return
	}
	b.WriteString("\n# The rest of the practice network: its other validators, and the time between blocks.\npractice:\n")
	if p.Validators != defaults.Validators {
		fmt.Fprintf(b, "  validators: %d\n", p.Validators)
	}
	if p.BlockTime != defaults.BlockTime {
		fmt.Fprintf(b, "  block_time: %v\n", p.BlockTime)
	}
}

// unplaced is the problems without their places, which are in a text that nobody sees.
func unplaced(ps Problems) Problems {
	ps.sort()
	for i := range ps {
		ps[i].Line, ps[i].Column = 0, 0
	}
	return ps
}

var plain = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9./_-]*$`)

// scalar writes s plainly where every version of YAML reads that as the same text, else in quotes.
func scalar(s string) string {
	special := []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"}
	if plain.MatchString(s) && !slices.Contains(special, strings.ToLower(s)) && !strings.HasPrefix(s, "..") {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b) // JSON is YAML
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // a string always encodes
		return `""`
	}
	return strings.TrimSpace(b.String())
}
