package notificationsapi

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/table/dynamodb"
)

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Interactive, func(d *deployment.Deployment) (lambda.Handler, error) {
		table := dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), d.Value(deployment.Table), time.Now)
		return &Handler{
			Inbox:   &inbox.Inbox{Table: table, Now: time.Now},
			Catalog: catalogstore.New(table, nil), // owners and members are in the table
			Auth:    &auth.Authenticator{Tokens: d.Config.API.Tokens, Secrets: awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now)},
		}, nil
	}, deployment.Table)
}
