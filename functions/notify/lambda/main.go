// Command lambda is the program of the function notify in AWS Lambda.
package main

import "github.com/callboard/callboard/functions/notify"

func main() { notify.Start() }
