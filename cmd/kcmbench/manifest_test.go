//go:build manifest

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubernetes is the module that has the schema of Kubernetes' API, as servers publish it
// (OpenAPI v3), among the data of its tests.
const kubernetes = "k8s.io/client-go@v0.33.0"

// kubeconform is the program that validates.
const kubeconform = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"

// goCommand runs the go command outside of this module.
func goCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// jobSchema writes the schema of a Job to a directory, under the name kubeconform looks
// for, and makes it strict: keys it does not name are not allowed.
func jobSchema(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", kubernetes)
	cmd.Dir = t.TempDir()
	b, err := cmd.Output()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(b, &module)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(module.Dir, "openapi/openapitest/testdata/apis__batch__v1_openapi.json")); err != nil {
		t.Fatal(err)
	}
	var api map[string]any
	if err := json.Unmarshal(b, &api); err != nil {
		t.Fatal(err)
	}
	schemas := api["components"].(map[string]any)["schemas"].(map[string]any)
	for _, s := range schemas {
		if s := s.(map[string]any); s["properties"] != nil {
			s["additionalProperties"] = false
		}
	}
	out, err := json.Marshal(map[string]any{
		"$ref": "#/components/schemas/io.k8s.api.batch.v1.Job", "components": map[string]any{"schemas": schemas},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "job.json"), out, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManifest validates the Job, and a Job with a fault, which must be found.
func TestManifest(t *testing.T) {
	dir := t.TempDir()
	jobSchema(t, dir)
	manifest, err := os.ReadFile("../../docs/kcmbench-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, fault string }{
		{"", "", ""},
		{"completionMode:", "completionsMode:", "completionsMode"},
		{"completions: 3", "completions: three", "/spec/completions"},
	} {
		file := filepath.Join(dir, "job.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(string(manifest), c.old, c.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := goCommand(t, "run", kubeconform, "-strict", "-summary", "-schema-location", dir+"/{{.ResourceKind}}.json", file)
		if (err != nil) != (c.fault != "") || !strings.Contains(out, c.fault) || c.fault == "" && !strings.Contains(out, "Valid: 1") {
			t.Errorf("%q for %q: %v\n%s", c.new, c.old, err, out)
		}
	}
}
