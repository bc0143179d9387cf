package config

import (
	"encoding/json"
	"fmt"
)

// Schema returns the JSON Schema (draft 2020-12) of the config.
func Schema() ([]byte, error) {
	s := block(Practice(""), deploymentKeys).schema
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "pressenter deployment"
	s["description"] = "A validator and what surrounds it. Keys and values that this version does not implement are errors."
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(b, '\n'), nil
}
