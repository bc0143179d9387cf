package config

// existing is the rest of a practice network; nothing where the network is there already. It reports what a network that
// is there already cannot have.
func (w *walk) existing(d Deployment, root node) PracticeNetwork {
	if !d.Chain.Exists {
		return d.Practice
	}
	for _, p := range root.pairs {
		if p.key == "practice" {
			w.report(p.at, p.key, "the network is there already (chain.exists), so nothing of it is made", "remove it")
		}
	}
	if d.ProviderOf(d.Validator.Machine) != ProviderSSH {
		w.report(root.at1("validator").at, "validator", "a network that is there already is joined with a validator that is there already; other ways are not implemented in this version",
			"name its server with provider: "+ProviderSSH+" and an address")
	}
	if d.Validator.VolumeDevice != "" {
		w.report(root.at1("validator").at1("volume_device").at, "validator.volume_device", "the home of a node that is taken over stays on the disk that it is on",
			"remove it")
	}
	return PracticeNetwork{}
}
