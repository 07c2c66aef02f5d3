import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.common.*;

/**
 * Divides partitions with Apache's assignors. Reads cases from standard input, each of lines
 * `topic NAME PARTITIONS`, `member ID INSTANCE|- GENERATION TOPICS|- OWNED|-` (comma-separated, partitions as
 * NAME:NUMBER) and `assign`; answers each with a line for each assignor: `NAME MEMBER=PARTITIONS ...`.
 */
public class Assign {
    static final Node NODE = new Node(1, "h", 1);

    public static void main(String[] args) {
        List<PartitionInfo> partitions = new ArrayList<>();
        List<String[]> members = new ArrayList<>();
        Scanner in = new Scanner(System.in);
        StringBuilder out = new StringBuilder();
        while (in.hasNextLine()) {
            String[] words = in.nextLine().split(" ");
            switch (words[0]) {
                case "topic":
                    Node[] nodes = {NODE};
                    for (int p = 0; p < Integer.parseInt(words[2]); p++)
                        partitions.add(new PartitionInfo(words[1], p, nodes[0], nodes, nodes));
                    break;
                case "member":
                    members.add(words);
                    break;
                default:
                    for (ConsumerPartitionAssignor assignor : List.of(new RangeAssignor(), new RoundRobinAssignor(),
                            new StickyAssignor(), new CooperativeStickyAssignor()))
                        out.append(answer(assignor, partitions, members)).append('\n');
                    partitions.clear();
                    members.clear();
            }
        }
        System.out.print(out);
    }

    static String answer(ConsumerPartitionAssignor assignor, List<PartitionInfo> partitions, List<String[]> members) {
        Map<String, Subscription> subscriptions = new TreeMap<>();
        for (String[] member : members) {
            int generation = Integer.parseInt(member[3]);
            List<String> topics = list(member[4]);
            List<TopicPartition> owned = list(member[5]).stream().map(name -> name.split(":"))
                .map(parts -> new TopicPartition(parts[0], Integer.parseInt(parts[1]))).collect(Collectors.toList());
            ByteBuffer userData = null;
            if (assignor instanceof StickyAssignor && generation >= 0) {
                StickyAssignor told = new StickyAssignor();
                told.onAssignment(new Assignment(owned), new ConsumerGroupMetadata("g", generation, member[1], Optional.empty()));
                userData = told.subscriptionUserData(new HashSet<>(topics));
            }
            Subscription subscription = new Subscription(topics, userData, owned, generation, Optional.empty());
            subscription.setGroupInstanceId(member[2].equals("-") ? Optional.empty() : Optional.of(member[2]));
            subscriptions.put(member[1], subscription);
        }
        Cluster cluster = new Cluster("c", List.of(NODE), partitions, Set.of(), Set.of());
        Map<String, Assignment> assigned = assignor.assign(cluster, new GroupSubscription(subscriptions)).groupAssignment();
        return assignor.name() + new TreeMap<>(assigned).entrySet().stream()
            .map(entry -> " " + entry.getKey() + "=" + entry.getValue().partitions().stream()
                .map(partition -> partition.topic() + ":" + partition.partition()).collect(Collectors.joining(",")))
            .collect(Collectors.joining());
    }

    static List<String> list(String words) {
        return words.equals("-") ? List.of() : List.of(words.split(","));
    }
}
