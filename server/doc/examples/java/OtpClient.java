import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** Sends and verifies one-time codes through the OTP servlets. Safe for use by many threads. */
public final class OtpClient {
    private static final Pattern WRONG = Pattern.compile("Wrong PIN ?\\. No of Retries remaining # ?(\\d+)");

    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).build();
    private final String url;
    private final String accessKey;
    private final SecretKeySpec key;
    private final IvParameterSpec iv;

    public OtpClient(String url, String accessKey, byte[] key, byte[] iv) {
        this.url = url;
        this.accessKey = accessKey;
        this.key = new SecretKeySpec(key, "AES");
        this.iv = new IvParameterSpec(iv);
    }

    /** Has a new code sent; one that was sent before stops being valid. */
    public String send(String mobile, String ipAddress) throws Exception {
        return outcome(call("otpgenservlet", Map.of("mobile", mobile, "ipaddress", ipAddress)));
    }

    /** Has the same code sent again. */
    public String resend(String mobile, String ipAddress) throws Exception {
        return outcome(call("otpregenservlet", Map.of("mobile", mobile, "ipaddress", ipAddress)));
    }

    /** Answers "verified" for the right code, once, and nothing like it for anything else. */
    public String verify(String mobile, String ipAddress, String code) throws Exception {
        Cipher cipher = Cipher.getInstance("AES/CBC/PKCS5Padding");
        cipher.init(Cipher.ENCRYPT_MODE, key, iv);
        String otp = Base64.getEncoder().encodeToString(cipher.doFinal(code.getBytes(StandardCharsets.UTF_8)));
        return outcome(call("otpvalidationservlet", Map.of("mobile", mobile, "ipaddress", ipAddress, "otp", otp)));
    }

    private String call(String servlet, Map<String, String> parameters) throws Exception {
        String form = parameters.entrySet().stream()
            .map(p -> p.getKey() + "=" + URLEncoder.encode(p.getValue(), StandardCharsets.UTF_8))
            .collect(Collectors.joining("&"));
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/" + servlet))
            .timeout(Duration.ofSeconds(10))
            .header("access_key", accessKey)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(BodyPublishers.ofString(form))
            .build();
        return http.send(request, BodyHandlers.ofString()).body().strip();
    }

    private static String outcome(String answer) {
        Matcher wrong = WRONG.matcher(answer);
        if (wrong.matches()) {
            return "wrong " + wrong.group(1);
        }
        if (answer.startsWith("Max no of tries for this pin")) {
            return "exhausted";
        }
        return switch (answer) {
            case "OTP Generated Successfully" -> "sent";
            case "Verified successfully" -> "verified";
            case "OTPEXPIRED" -> "expired";
            default -> "failed";
        };
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> env = System.getenv();
        OtpClient client = new OtpClient(env.get("OTP_URL"), env.get("OTP_ACCESS_KEY"),
            Base64.getDecoder().decode(env.get("OTP_CIPHER_KEY")), Base64.getDecoder().decode(env.get("OTP_CIPHER_IV")));
        String outcome = switch (arguments[0]) {
            case "send" -> client.send(arguments[1], arguments[2]);
            case "resend" -> client.resend(arguments[1], arguments[2]);
            case "verify" -> client.verify(arguments[1], arguments[2], arguments[3]);
            default -> throw new IllegalArgumentException("send, resend or verify");
        };
        System.out.println(outcome);
        System.exit(outcome.equals("sent") || outcome.equals("verified") ? 0 : 1);
    }
}
