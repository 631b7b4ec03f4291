// Reads queues with Backstage's own SQS consumer and prints each event that it publishes as a line of JSON, until the
// process is told to stop. The configuration, a JSON document as app-config.yaml has it, comes on standard input; the rest
// stands for what a Backstage backend gives to its modules.
//
//	node consume.js <app-config.json
'use strict';

const { ConfigReader } = require('@backstage/config');
const { default: sqsModule } = require('@backstage/plugin-events-backend-module-aws-sqs');
const { DefaultEventsService } = require('@backstage/plugin-events-node');

function log(message, detail) {
  console.error(detail === undefined ? message : `${message}: ${detail}`);
}

const logger = { error: log, warn: log, info: log, debug() {}, child: () => logger };

// The scheduler of Backstage runs a task of the frequency 0 again and again.
const scheduler = {
  async scheduleTask(task) {
    const again = () => task.fn().then(() => setImmediate(again));
    again();
  },
};

async function main() {
  let text = '';
  for await (const part of process.stdin) {
    text += part;
  }
  const config = new ConfigReader(JSON.parse(text));
  const events = DefaultEventsService.create({ logger, config, useEventBus: 'never' });
  await events.subscribe({
    id: 'printer',
    topics: config.getConfig('events.modules.awsSqs.awsSqsConsumingEventPublisher.topics').keys(),
    async onEvent({ topic, eventPayload, metadata }) {
      process.stdout.write(`${JSON.stringify({ topic, eventPayload, metadata })}\n`);
    },
  });
  const [registration] = sqsModule.getRegistrations();
  await registration.init.func({ config, events, logger, scheduler });
}

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
main().catch(error => {
  log('the consumer cannot start', error);
  process.exit(1);
});
