import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;

/** Avro's values in Java as JSON: a decimal as its digits, a time in ISO 8601, bytes in Base64. */
final class Plain {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Plain() {}

    /** Decodes decimal as BigDecimal and timestamp-millis as Instant. */
    static GenericData model() {
        GenericData model = new GenericData();
        model.addLogicalTypeConversion(new Conversions.DecimalConversion());
        model.addLogicalTypeConversion(new TimeConversions.TimestampMillisConversion());
        return model;
    }

    static String json(Object value) throws Exception {
        return JSON.writeValueAsString(value);
    }

    static Object of(Object value) {
        return switch (value) {
            case null -> null;
            case GenericRecord record -> fields(record);
            case Map<?, ?> map -> entries(map);
            case Collection<?> several -> several.stream().map(Plain::of).toList();
            case BigDecimal decimal -> decimal.toPlainString();
            case Instant time -> time.toString();
            case ByteBuffer bytes -> Base64.getEncoder().encodeToString(bytes.array());
            case CharSequence text -> text.toString();
            default -> value;
        };
    }

    private static Map<String, Object> fields(GenericRecord record) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (Schema.Field field : record.getSchema().getFields()) {
            fields.put(field.name(), of(record.get(field.pos())));
        }
        return fields;
    }

    private static Map<String, Object> entries(Map<?, ?> map) {
        Map<String, Object> entries = new LinkedHashMap<>();
        map.forEach((key, value) -> entries.put(key.toString(), of(value)));
        return entries;
    }
}
