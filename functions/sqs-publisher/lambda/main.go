// Command lambda is the program of the function sqs-publisher in AWS Lambda.
package main

import sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"

func main() { sqspublisher.Start() }
