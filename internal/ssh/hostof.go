package ssh

// HostOf returns the name or address that a target leads to, after the SSH config has had its say, without port. Nothing
// is looked up or dialed.
func (d *Dialer) HostOf(t Target) (string, error) {
	h, _, err := d.resolve(t)
	if err != nil {
		return "", err
	}
	return h.host, nil
}
