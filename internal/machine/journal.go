package machine

import "context"

const journalFile = "/etc/systemd/journald.conf.d/pressenter.conf"

// journalText bounds the journal: by itself it takes a tenth of the disk, which is the chain's.
const journalText = `# Made by pressenter, which puts it back.
[Journal]
SystemMaxUse=1G
SystemKeepFree=2G
RuntimeMaxUse=64M
`

// keepJournal bounds the journal. Journald loses nothing when it restarts.
func keepJournal(ctx context.Context, r *Report) error {
	changed, err := place(journalFile, journalText)
	if err != nil || !changed {
		return err
	}
	r.note("%s", journalFile)
	_, err = output(ctx, "systemctl", "restart", "systemd-journald.service")
	return err
}
