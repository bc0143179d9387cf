package plan

import (
	"fmt"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
)

// volumes says which volume the config would take away from data, or put over it. A volume grows in place, and that is all
// that can be done with one while its host lives.
func volumes(want Want, have ObservedDeployment) error {
	for _, h := range want.Own.Hosts {
		o := have.Hosts[h.Name]
		if !o.Exists || !o.Host.OnMachine() || o.Host.Removing || !o.Host.Made {
			continue
		}
		if err := regrown(h, o.Host); err != nil {
			return err
		}
	}
	return nil
}

// regrown refuses what cannot be done to the volume of a host that was set up.
func regrown(h, was deployment.Host) error {
	anew := fmt.Sprintf("add a sentry under another name, apply, then take %s out", h.Name)
	if h.Name == config.ValidatorHost {
		anew = "the data of a validator moves only with its host: see docs/runbooks/lost-host.md"
	}
	switch {
	case h.Bought() && was.VolumeGB > h.VolumeGB && h.VolumeGB > 0:
		return &Refusal{
			Why:  fmt.Sprintf("the volume of %s has %d GB, the config says %d: a volume grows and never shrinks", h.Name, was.VolumeGB, h.VolumeGB),
			Next: fmt.Sprintf("put volume_gb: %d back for %s; for a smaller one, %s", was.VolumeGB, h.Name, anew),
		}
	case h.Bought() && was.VolumeGB > 0 && h.VolumeGB == 0:
		return &Refusal{
			Why:  fmt.Sprintf("the config takes away the volume of %s, of %d GB, with the chain's data on it", h.Name, was.VolumeGB),
			Next: fmt.Sprintf("put volume_gb: %d back for %s; to go without, %s", was.VolumeGB, h.Name, anew),
		}
	case h.Bought() && was.VolumeGB == 0 && h.VolumeGB > 0:
		return &Refusal{
			Why:  fmt.Sprintf("%s was made without a volume, and its data is on the machine's own disk: a volume would cover it", h.Name),
			Next: fmt.Sprintf("take volume_gb of %s out again; for a host with a volume, %s", h.Name, anew),
		}
	case !h.Bought() && was.VolumeDevice != h.VolumeDevice:
		return &Refusal{
			Why:  fmt.Sprintf("the data of %s is on %s, the config says %s", h.Name, disk(was.VolumeDevice), disk(h.VolumeDevice)),
			Next: fmt.Sprintf("put volume_device of %s back as it was; for another disk, %s", h.Name, anew),
		}
	}
	return nil
}

func disk(device string) string {
	if device == "" {
		return "the system's disk"
	}
	return device
}

// grow are the machines whose volume is, or will be, larger than their file system knows.
func (b *builder) grow() {
	var out []Step
	for _, h := range b.want.Own.Hosts {
		o := b.have.Own.Hosts[h.Name]
		if o.Exists && o.Host.Made && h.VolumeGB > h.VolumeSet && h.VolumeSet > 0 {
			out = append(out, GrowVolume{On{b.want.Own.Deployment, h.Name}, h.VolumeSet, h.VolumeGB})
		}
	}
	b.stage(out)
}
