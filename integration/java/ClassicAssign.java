import kafka.common.TopicAndPartition;
import kafka.consumer.AssignmentContext;
import kafka.consumer.ConsumerThreadId;
import kafka.consumer.PartitionAssignor;
import kafka.consumer.PartitionAssignor$;
import kafka.utils.ZKStringSerializer$;
import org.I0Itec.zkclient.ZkClient;

/** Prints what falls to each member that is registered in a group: topic, partition and thread. */
public class ClassicAssign {
    public static void main(String[] arguments) {
        String zookeeper = arguments[0], group = arguments[1], strategy = arguments[2];
        ZkClient client = new ZkClient(zookeeper, 10000, 10000, ZKStringSerializer$.MODULE$);
        PartitionAssignor assignor = PartitionAssignor$.MODULE$.createInstance(strategy);
        for (String member : client.getChildren("/consumers/" + group + "/ids")) {
            AssignmentContext context = new AssignmentContext(group, member, true, client);
            scala.collection.Iterator<scala.Tuple2<TopicAndPartition, ConsumerThreadId>> taken =
                assignor.assign(context).iterator();
            while (taken.hasNext()) {
                scala.Tuple2<TopicAndPartition, ConsumerThreadId> one = taken.next();
                System.out.println(one._1().topic() + " " + one._1().partition() + " " + one._2());
            }
        }
        client.close();
    }
}
