import java.io.*;
import java.lang.reflect.*;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs a command line tool of Kafka's once for each line of standard input, in one JVM: Tool CLASS.
 * A line has the arguments, with U+001F behind each. The answer is a line `EXIT LENGTH LENGTH`, and as many bytes: what
 * the tool wrote to standard output and to standard error.
 */
public class Tool {
    static final ByteArrayOutputStream out = new ByteArrayOutputStream();
    static final ByteArrayOutputStream err = new ByteArrayOutputStream();
    static byte[] answer;

    static class Ended extends RuntimeException { }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        // Once: Scala's console and log4j keep the streams that they find.
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> {
            end(code);
            throw new Ended();
        });
        Method tool = Class.forName(args[0]).getMethod("main", String[].class);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            out.reset();
            err.reset();
            answer = null;
            String[] arguments = line.isEmpty() ? new String[0] : line.substring(0, line.length() - 1).split("\u001f", -1);
            try {
                tool.invoke(null, (Object) arguments);
                end(0);
            } catch (InvocationTargetException failure) {
                System.err.print("Exception in thread \"main\" ");
                failure.getCause().printStackTrace();
                end(1);
            }
            answers.write(answer);
            answers.flush();
        }
    }

    /** The first end counts: tools catch what they throw themselves, and this is thrown through them. */
    static void end(int code) {
        if (answer != null)
            return;
        byte[] said = out.toByteArray(), complained = err.toByteArray();
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        whole.writeBytes((code + " " + said.length + " " + complained.length + "\n").getBytes(StandardCharsets.UTF_8));
        whole.writeBytes(said);
        whole.writeBytes(complained);
        answer = whole.toByteArray();
    }
}
