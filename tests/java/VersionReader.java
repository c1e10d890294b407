import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.file.DataFileReader;
import org.apache.avro.generic.GenericDatumReader;

/**
 * Reads Avro files of older versions by a newer schema, and asks Avro itself whether that is allowed. Prints one line
 * of JSON for each file.
 *
 * <p>Arguments: the newer schema's file, then the files to read.
 */
final class VersionReader {
    private VersionReader() {}

    public static void main(String[] args) throws Exception {
        Schema reader = new Schema.Parser().parse(new File(args[0]));
        for (String path : List.of(args).subList(1, args.length)) {
            System.out.println(Plain.json(read(reader, new File(path))));
        }
    }

    private static Map<String, Object> read(Schema reader, File file) throws Exception {
        var datumReader = new GenericDatumReader<Object>(null, reader, Plain.model());
        try (var records = new DataFileReader<>(file, datumReader)) {
            Schema writer = records.getSchema();
            List<Object> read = new ArrayList<>();
            records.forEach(record -> read.add(Plain.of(record)));
            Map<String, Object> result = new LinkedHashMap<>();
            result.put("file", file.getName());
            result.put(
                    "compatibility",
                    SchemaCompatibility.checkReaderWriterCompatibility(reader, writer)
                            .getType()
                            .name());
            result.put("records", read);
            return result;
        }
    }
}
