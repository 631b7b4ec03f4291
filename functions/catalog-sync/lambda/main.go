// Command lambda is the program of the function catalog-sync in AWS Lambda.
package main

import catalogsync "github.com/callboard/callboard/functions/catalog-sync"

func main() { catalogsync.Start() }
