package accounts

import "testing"

// BenchmarkPlan is a plan for a small system: what is left is the cost of the
// rules themselves.
func BenchmarkPlan(b *testing.B) {
	root := sampleTree(b)
	for b.Loop() {
		mustPlan(b, root, Options{Mode: Secure, User: &User{Name: "eve"}})
	}
}
