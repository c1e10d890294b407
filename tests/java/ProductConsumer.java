import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumes products as a Java team would: Apache Kafka's client, Apache Avro, the registry's REST API, and nothing of
 * Seine but its record contract. Prints every record of the topic as one line of JSON, and with it the partition that
 * a Java producer chooses for its key.
 *
 * <p>Arguments: brokers, registry URL, topic.
 */
final class ProductConsumer {
    private static final int MAGIC_BYTE = 0;

    private final String brokers;
    private final String registry;
    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<Integer, Schema> schemas = new HashMap<>();

    private ProductConsumer(String brokers, String registry) {
        this.brokers = brokers;
        this.registry = registry;
    }

    public static void main(String[] args) throws Exception {
        new ProductConsumer(args[0], args[1]).read(args[2]);
    }

    /** Every committed record of the topic, up to its end. */
    private void read(String topic) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", brokers, "isolation.level", "read_committed");
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(config, bytes, bytes)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(Plain.json(described(record, partitions.size())));
                }
            }
        }
    }

    private Map<String, Object> described(ConsumerRecord<byte[], byte[]> record, int partitions) throws Exception {
        Map<String, Object> headers = new LinkedHashMap<>();
        record.headers().forEach(header -> headers.put(header.key(), text(header.value())));
        Map<String, Object> described = new LinkedHashMap<>();
        described.put("key", text(record.key()));
        described.put("partition", record.partition());
        described.put("partition_of_java", BuiltInPartitioner.partitionForKey(record.key(), partitions));
        described.put("headers", headers);
        described.put("value", Plain.of(decode(record.value())));
        return described;
    }

    /** Confluent's framing: the magic byte, the schema's id in four bytes, Avro. */
    private Object decode(byte[] value) throws Exception {
        ByteBuffer frame = ByteBuffer.wrap(value);
        if (frame.get() != MAGIC_BYTE) {
            throw new IllegalArgumentException("not in Confluent's framing");
        }
        Schema schema = schema(frame.getInt());
        var decoder = DecoderFactory.get().binaryDecoder(value, frame.position(), frame.remaining(), null);
        Object decoded = new GenericDatumReader<>(schema, schema, Plain.model()).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IllegalArgumentException("bytes are left after the record");
        }
        return decoded;
    }

    private Schema schema(int id) throws Exception {
        if (!schemas.containsKey(id)) {
            URI address = URI.create(registry + "/schemas/ids/" + id);
            var answer = http.send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(address + " answers " + answer.statusCode());
            }
            String text = new ObjectMapper().readTree(answer.body()).get("schema").asText();
            schemas.put(id, new Schema.Parser().parse(text));
        }
        return schemas.get(id);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
