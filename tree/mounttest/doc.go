// Package mounttest unmounts what tests have mounted. Tests take the kernel as
// their oracle, and a test that ends while another one starts a program finds its
// mount busy: for a moment the new process holds copies of all open files.
package mounttest
