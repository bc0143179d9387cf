package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/systemd"
)

// The packet filter that holds from boot until the mesh process loads its own in the same table, which says the same.
const (
	firewallFile = configFolder + "/firewall.nft"
	firewallUnit = "pressenter-firewall.service"
)

// Interface is the mesh's network device on a machine.
const Interface = "pressenter"

// The unit comes before any address, and after what empties all tables.
const firewallUnitText = `[Unit]
Description=pressenter: packet filter
DefaultDependencies=no
RequiresMountsFor=` + configFolder + `
After=local-fs.target nftables.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists=` + firewallFile + `

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=NFT -f ` + firewallFile + `
ExecReload=NFT -f ` + firewallFile + `

[Install]
WantedBy=sysinit.target
`

// firewallText is the filter of a machine; empty for a role that has none.
func firewallText(spec Spec) (string, error) {
	text, err := access.Underlay(roster.Role(spec.Role), spec.Tunnel, Interface, append(slices.Clone(spec.SSH), spec.Open...)...)
	if err != nil || text == "" {
		return "", err
	}
	return "# Made by pressenter, which puts it back. To undo: 'systemctl disable " + firewallUnit + "', remove this file, and\n" +
		"# 'nft delete table inet pressenter_underlay'. The mesh process loads this table too.\n" + text, nil
}

// firewallChange is what has to change of the packet filter; none if nothing has.
func firewallChange(spec Spec) (*changedFile, error) {
	if len(spec.SSH) == 0 {
		return nil, nil // it would shut out whoever keeps the machine
	}
	text, err := firewallText(spec)
	if err != nil || text == "" || same(firewallFile, text) {
		return nil, err
	}
	return &changedFile{firewallFile, text}, nil
}

// loadFirewall has the kernel check the filter and take it, now and at boot.
func loadFirewall(ctx context.Context) error {
	if _, err := output(ctx, "nft", "-f", firewallFile); err != nil {
		return fmt.Errorf("load the packet filter: %w", err)
	}
	_, err := bootFirewall(ctx)
	return err
}

// bootFirewall has every boot load the filter that is there, and says what was not so. It starts nothing. A unit that an
// administrator masked stays so.
func bootFirewall(ctx context.Context) (was []string, err error) {
	if _, err := os.Stat(firewallFile); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	text, err := firewallUnitNow()
	if err != nil {
		return nil, err
	}
	changed, err := place(unitFile(firewallUnit), text)
	if err != nil {
		return nil, err
	}
	if changed {
		was = append(was, "was edited or removed")
		if err := systemd.Reload(ctx); err != nil {
			return was, err
		}
	}
	units, err := systemd.Show(ctx, firewallUnit)
	if err != nil || units[0].Masked() || units[0].Enabled == "enabled" {
		return was, err
	}
	return append(was, "was not enabled"), systemd.Enable(ctx, firewallUnit)
}

// firewallUnitNow is the file of the unit on this machine.
func firewallUnitNow() (string, error) {
	nft, err := program("nft")
	return strings.ReplaceAll(firewallUnitText, "NFT", nft), err
}

// checkFirewall says what keeps the packet filter from holding between boot and the start of the mesh: what its file
// should say is filter, if that is known, and what its unit should, text. enabled is what systemd says of that.
func checkFirewall(file, filter, unit, text, enabled string) []health.Finding {
	said := func(path, what string) []health.Finding {
		return []health.Finding{{
			Code: "firewall-not-at-boot", Severity: health.Warning, Subject: path,
			Message: fmt.Sprintf("%s %s: between boot and the start of the mesh, this host's packet filter does not hold.", path, what),
			Next:    "Run 'pressenter harden'.",
		}}
	}
	switch _, err := os.Stat(file); {
	case err != nil:
		return said(file, "is not there")
	case filter != "" && !same(file, filter):
		return said(file, "was edited on the machine")
	case enabled == "masked" || enabled == "masked-runtime":
		found := said(unit, "is masked")
		found[0].Next = "Run 'systemctl unmask " + firewallUnit + "' on the machine, then 'pressenter harden'."
		return found
	case !same(unit, text):
		return said(unit, "was edited or removed on the machine")
	case enabled != "enabled":
		return said(unit, "is not enabled")
	}
	return nil
}

// removeFirewall takes our filter away.
func removeFirewall(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(unitFolder, firewallUnit)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := output(ctx, "systemctl", "disable", "--quiet", "--now", firewallUnit)
	_, _ = output(ctx, "nft", "delete", "table", "inet", "pressenter_underlay") // it may not be loaded
	for _, path := range []string{firewallFile, filepath.Join(unitFolder, firewallUnit)} {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// otherFilters says which other packet filters are at work. What one of them drops is dropped, whatever ours says, and the
// other way round; nobody's rules are changed.
func otherFilters(ctx context.Context) (found []health.Finding) {
	for _, other := range []struct{ unit, name, more string }{
		{"ufw.service", "ufw", "ports of this host have to be open there too: 'ufw allow PORT'"},
		{"firewalld.service", "firewalld", "ports of this host have to be open there too: 'firewall-cmd --permanent --add-port=PORT'"},
		{"docker.service", "Docker", "its containers do not reach services of this host itself any more; ports that it publishes stay open to the world, as nobody filters what is forwarded"},
	} {
		if activeUnit(ctx, other.unit) == "" || other.name == "ufw" && !ufwEnabled() {
			continue
		}
		found = append(found, health.Finding{
			Code: "other-firewall", Severity: health.Warning, Subject: other.name,
			Message: fmt.Sprintf("%s filters packets here too. It was left as it is: %s.", other.name, other.more),
			Next:    "Better use this server for nothing else.",
		})
	}
	return found
}

// ufwEnabled says whether ufw filters: its unit is up where it does nothing, too.
func ufwEnabled() bool {
	b, err := os.ReadFile("/etc/ufw/ufw.conf")
	return err == nil && strings.Contains(string(b), "ENABLED=yes")
}

// dropFilters takes away the packet filters, which would outlive the processes that loaded them.
func dropFilters(ctx context.Context) error {
	out, err := output(ctx, "nft", "list", "tables", "inet")
	if err != nil {
		return fmt.Errorf("list packet filters: %w", err)
	}
	for _, word := range strings.Fields(string(out)) {
		if !strings.HasPrefix(word, "pressenter_") {
			continue
		}
		if _, err := output(ctx, "nft", "delete", "table", "inet", word); err != nil {
			return fmt.Errorf("remove the packet filter %s: %w", word, err)
		}
	}
	return nil
}
