package machine

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"

	"github.com/pressenter/pressenter/internal/health"
)

// The files that say what is installed by itself, when, and what is restarted after.
const (
	updatesFile     = "/etc/apt/apt.conf.d/60pressenter"
	updatesTimer    = "/etc/systemd/system/apt-daily-upgrade.timer.d/pressenter.conf"
	needrestartFile = "/etc/needrestart/conf.d/pressenter.conf"
)

// updatesText: lists are cleared first, since those of the distribution hold more than what is for security. Debian is
// meant by the first pattern, Ubuntu by the others: what does not match matches nothing.
const updatesText = `// Made by pressenter, which puts it back.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
#clear Unattended-Upgrade::Origins-Pattern;
#clear Unattended-Upgrade::Allowed-Origins;
Unattended-Upgrade::Origins-Pattern {
	"origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
	"origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu";
	"origin=UbuntuESMApps,archive=${distro_codename}-apps-security,label=UbuntuESMApps";
	"origin=UbuntuESM,archive=${distro_codename}-infra-security,label=UbuntuESM";
};
Unattended-Upgrade::Automatic-Reboot "false";
Unattended-Upgrade::MinimalSteps "true";
`

// needrestartText keeps a program that updates a library from restarting ours: the node, and what signs, restart when
// their agent or a person wants it.
const needrestartText = `# Made by pressenter, which puts it back.
$nrconf{override_rc}{qr(^pressenter-)} = 0;
1;
`

// updatesAt says when a host updates itself: at a minute of the day that is its own, so that an update that does harm
// does not meet all hosts of a deployment at once. After a time without power it waits for that minute, too.
func updatesAt(deployment, host string) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s", deployment, host)
	minute := h.Sum32() % (24 * 60)
	return fmt.Sprintf(`# Made by pressenter, which puts it back.
[Timer]
OnCalendar=
OnCalendar=*-*-* %02d:%02d UTC
RandomizedDelaySec=0
Persistent=false
`, minute/60, minute%60)
}

// keepUpdates has security updates installed every day, and nothing rebooted or restarted of ours.
func keepUpdates(ctx context.Context, spec Spec, r *Report) error {
	if _, err := os.Stat("/etc/apt"); err != nil {
		r.Findings = append(r.Findings, health.Finding{
			Code: "no-apt", Severity: health.Warning, Subject: "updates", Message: "There is no apt on this machine: it is not updated by pressenter.",
			Next: "See to security updates yourself.",
		})
		return nil
	}
	if _, err := program("unattended-upgrade"); err != nil {
		if err := install(ctx, "unattended-upgrades"); err != nil {
			r.Findings = append(r.Findings, missing("unattended-upgrades", "Security updates are not installed by themselves", err))
		} else {
			r.note("package unattended-upgrades")
		}
	}
	for path, text := range map[string]string{updatesFile: updatesText, needrestartFile: needrestartText} {
		if err := r.put(path, text); err != nil {
			return err
		}
	}
	changed, err := place(updatesTimer, updatesAt(spec.Deployment, spec.Host))
	if err != nil || !changed {
		return err
	}
	r.note("%s", updatesTimer)
	if _, err := output(ctx, "systemctl", "daemon-reload"); err != nil {
		return err
	}
	_, err = output(ctx, "systemctl", "try-restart", "apt-daily-upgrade.timer")
	return err
}

// put writes a file and says so if that was necessary.
func (r *Report) put(path, text string) error {
	changed, err := place(path, text)
	if changed && err == nil {
		r.note("%s", path)
	}
	return err
}
