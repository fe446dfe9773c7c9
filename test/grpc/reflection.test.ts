import { credentials, type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import test from 'ava';
import { NOTHING_KNOWN, RecordingService, serve } from './served.ts';

/** What of grpc.reflection.v1 is used here (grpc/reflection/v1/reflection.proto). */
const REFLECTION: Parameters<typeof fromJSON>[0] = {
  nested: {
    grpc: {
      nested: {
        reflection: {
          nested: {
            v1: {
              nested: {
                ServerReflection: {
                  methods: {
                    ServerReflectionInfo: {
                      requestType: 'ServerReflectionRequest',
                      requestStream: true,
                      responseType: 'ServerReflectionResponse',
                      responseStream: true,
                      comment: '',
                    },
                  },
                },
                ServerReflectionRequest: {
                  oneofs: { message_request: { oneof: ['file_containing_symbol', 'list_services'] } },
                  fields: {
                    file_containing_symbol: { type: 'string', id: 4 },
                    list_services: { type: 'string', id: 7 },
                  },
                },
                ServerReflectionResponse: {
                  fields: {
                    file_descriptor_response: { type: 'FileDescriptorResponse', id: 4 },
                    list_services_response: { type: 'ListServiceResponse', id: 6 },
                  },
                },
                FileDescriptorResponse: {
                  fields: { file_descriptor_proto: { rule: 'repeated', type: 'bytes', id: 1 } },
                },
                ListServiceResponse: { fields: { service: { rule: 'repeated', type: 'ServiceResponse', id: 1 } } },
                ServiceResponse: { fields: { name: { type: 'string', id: 1 } } },
              },
            },
          },
        },
      },
    },
  },
};

interface ReflectionAnswer {
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Buffer[] };
}

test('reflection lists the services and hands out their files', async (t) => {
  await using server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN });
  const root = loadPackageDefinition(fromJSON(REFLECTION, { keepCase: true }));
  const reflection = (root['grpc'] as GrpcObject)['reflection'] as GrpcObject;
  const Reflection = (reflection['v1'] as GrpcObject)['ServerReflection'] as ServiceClientConstructor;
  const client = new Reflection(server.address, credentials.createInsecure());
  const stream = client['ServerReflectionInfo']?.call(client);
  const answers: ReflectionAnswer[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    stream.on('data', (answer: ReflectionAnswer) => answers.push(answer));
    stream.on('end', resolve);
    stream.on('error', reject);
  });
  stream.write({ list_services: '*' });
  stream.write({ file_containing_symbol: 'dtmgimp.Dtm' });
  stream.write({ file_containing_symbol: 'atomesh.v1.Coordinator.Query' });
  stream.end();
  await ended;
  client.close();
  const names = answers[0]?.list_services_response?.service.map(({ name }) => name) ?? [];
  t.true(
    ['dtmgimp.Dtm', 'atomesh.v1.Coordinator'].every((name) => names.includes(name)),
    names.join(),
  );
  const texts = answers
    .slice(1)
    .map((answer) => Buffer.concat(answer.file_descriptor_response?.file_descriptor_proto ?? []).toString('latin1'));
  t.true(texts[0]?.includes('PrepareWorkflow'));
  t.true(texts[1]?.includes('QueryRequest'));
});
