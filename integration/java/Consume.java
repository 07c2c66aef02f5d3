import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints the value of every record of a topic, one a line, by manual assignment (no group): Consume BOOTSTRAP TOPIC [RACK].
 * With a rack also the bytes that came from each broker, on stderr: "node-2 12345".
 */
public class Consume {
    public static void main(String[] args) {
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", args[0],
            "enable.auto.commit", "false",
            "key.deserializer", StringDeserializer.class.getName(),
            "value.deserializer", StringDeserializer.class.getName()));
        if (args.length > 2)
            config.put("client.rack", args[2]);
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config)) {
            List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
                .map(p -> new TopicPartition(p.topic(), p.partition())).collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p)))
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500)))
                    out.append(record.value()).append('\n');
            if (args.length > 2)
                consumer.metrics().forEach((name, metric) -> {
                    if (name.name().equals("incoming-byte-total") && name.tags().containsKey("node-id"))
                        System.err.println(name.tags().get("node-id") + " " + ((Double) metric.metricValue()).longValue());
                });
        }
        System.out.print(out);
    }
}
