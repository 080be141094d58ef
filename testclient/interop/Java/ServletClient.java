import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Walks one code through the OTP servlets the way a Java integration does, and stops at the first
 * answer that differs by a single byte. Run with {@code java ServletClient.java}; the settings are
 * the environment variables listed in the README beside this folder.
 */
public final class ServletClient {
    private static final String IP_ADDRESS = "203.0.113.10";
    private static final int CONNECT_TIMEOUT_MS = 5_000;
    private static final int READ_TIMEOUT_MS = 20_000;
    private static final long INBOX_PATIENCE_MS = 10_000;

    private final String target = setting("TARGET", "http://127.0.0.1:8080").replaceAll("/+$", "");
    private final String servlets = target + setting("CONTEXT_PATH", "/otpauthapi").replaceAll("/+$", "");
    private final String accessKey = setting("ACCESS_KEY", null);
    private final SecretKeySpec cipherKey = new SecretKeySpec(bytesOf("CIPHER_KEY"), "AES");
    private final IvParameterSpec cipherIv = new IvParameterSpec(bytesOf("CIPHER_IV"));
    private final String mobile = setting("MOBILE", null);
    private final boolean live = oneOf("PROFILE", "documented", "live").equals("live");
    private final boolean hex = oneOf("PARAM_ENCODING", "base64", "hex").equals("hex");

    public static void main(String[] args) {
        try {
            new ServletClient().run();
        } catch (BadSetting e) {
            System.err.println(e.getMessage());
            System.exit(2);
        } catch (Mismatch e) {
            System.err.println(e.getMessage());
            System.exit(1);
        } catch (IOException | GeneralSecurityException e) {
            System.err.println("FAILED " + e);
            System.exit(1);
        }
    }

    private void run() throws IOException, GeneralSecurityException {
        String subject = "ipaddress=" + encoded(IP_ADDRESS) + "&mobile=" + encoded(mobile);

        expect("generate", "OTP Generated Successfully",
                request("GET", servlets + "/otpgenservlet?" + subject, null));

        // Integrations POST with everything in the query string and nothing in the body.
        expect("regenerate", "OTP Generated Successfully",
                request("POST", servlets + "/otpregenservlet?" + subject, ""));

        String code = codeSentTwice();
        expect("wrong code",
                live ? "Wrong PIN . No of Retries remaining # 2" : "Wrong PIN. No of Retries remaining #2",
                validate(subject, differingFrom(code)));
        expect("right code", "Verified successfully", validate(subject, code));
        expect("used code", "OTPEXPIRED", validate(subject, code));
    }

    private Answer validate(String subject, String code) throws IOException, GeneralSecurityException {
        String form = subject + "&otp=" + encoded(encrypt(code));
        return request("POST", servlets + "/otpvalidationservlet", form);
    }

    private String encrypt(String code) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/CBC/PKCS5Padding");
        cipher.init(Cipher.ENCRYPT_MODE, cipherKey, cipherIv);
        byte[] block = cipher.doFinal(code.getBytes(StandardCharsets.US_ASCII));
        if (!hex) {
            return Base64.getEncoder().encodeToString(block);
        }
        StringBuilder digits = new StringBuilder();
        for (byte b : block) {
            digits.append(String.format("%02x", b));
        }
        return digits.toString();
    }

    /** The code of the two newest messages, which must be the same: regenerate sends it again. */
    private String codeSentTwice() throws IOException {
        String inbox = target + "/sandbox/messages?to=" + encoded(mobile);
        long giveUp = System.currentTimeMillis() + INBOX_PATIENCE_MS;
        while (true) {
            Answer answer = request("GET", inbox, null);
            List<String> codes = codesIn(answer.text());
            if (codes.size() >= 2) {
                same("inbox", "the same code twice, " + codes.get(1), "newest " + codes.get(0),
                        codes.get(0).equals(codes.get(1)));
                return codes.get(0);
            }
            if (System.currentTimeMillis() >= giveUp) {
                same("inbox", "two messages", answer.shown(), false);
            }
            pause();
        }
    }

    /** The JDK has no JSON parser. Quotes inside a JSON text are escaped, so only the field matches. */
    private static List<String> codesIn(String json) {
        List<String> codes = new ArrayList<>();
        Matcher field = Pattern.compile("\"code\"\\s*:\\s*\"([0-9]{4,10})\"").matcher(json);
        while (field.find()) {
            codes.add(field.group(1));
        }
        return codes;
    }

    /** The same code with another last digit. */
    private static String differingFrom(String code) {
        int last = code.length() - 1;
        return code.substring(0, last) + (code.charAt(last) - '0' + 1) % 10;
    }

    /** Sends a form body if there is one, an empty body for "", and none for null. */
    private Answer request(String method, String url, String form) throws IOException {
        HttpURLConnection http = (HttpURLConnection) URI.create(url).toURL().openConnection();
        http.setRequestMethod(method);
        http.setConnectTimeout(CONNECT_TIMEOUT_MS);
        http.setReadTimeout(READ_TIMEOUT_MS);
        if (url.startsWith(servlets + "/")) {
            http.setRequestProperty("access_key", accessKey);
        }
        if (form != null) {
            byte[] body = form.getBytes(StandardCharsets.US_ASCII);
            http.setDoOutput(true);
            http.setFixedLengthStreamingMode(body.length);
            http.setRequestProperty("Content-Type", "application/x-www-form-urlencoded");
            http.getOutputStream().write(body);
        }
        int status = http.getResponseCode();
        try (InputStream in = status < 400 ? http.getInputStream() : http.getErrorStream()) {
            return new Answer(status, in == null ? new byte[0] : in.readAllBytes());
        }
    }

    private void expect(String step, String text, Answer came) {
        Answer expected = new Answer(200, (text + (live ? "\r\n" : "")).getBytes(StandardCharsets.ISO_8859_1));
        same(step, expected.shown(), came.shown(), expected.shown().equals(came.shown()));
    }

    private static void same(String step, String expected, String came, boolean equal) {
        if (!equal) {
            throw new Mismatch("FAILED " + step + "\n  expected " + expected + "\n  came     " + came);
        }
        System.out.println("ok " + step);
    }

    private static final class Answer {
        private final int status;
        private final byte[] body;

        Answer(int status, byte[] body) {
            this.status = status;
            this.body = body;
        }

        String text() {
            return new String(body, StandardCharsets.UTF_8);
        }

        /** Status and body in a form that differs whenever the bytes differ. */
        String shown() {
            StringBuilder out = new StringBuilder("HTTP " + status + " \"");
            for (byte b : body) {
                switch (b) {
                    case '\r' -> out.append("\\r");
                    case '\n' -> out.append("\\n");
                    case '"', '\\' -> out.append('\\').append((char) b);
                    default -> out.append(b >= 0x20 && b < 0x7f ? (char) b : String.format("\\x%02x", b));
                }
            }
            return out.append('"').toString();
        }
    }

    private static final class Mismatch extends RuntimeException {
        Mismatch(String message) {
            super(message);
        }
    }

    private static final class BadSetting extends RuntimeException {
        BadSetting(String message) {
            super(message);
        }
    }

    private static String encoded(String value) {
        return URLEncoder.encode(value, StandardCharsets.UTF_8);
    }

    private static String setting(String name, String fallback) {
        String value = System.getenv(name);
        if (value == null && fallback == null) {
            throw new BadSetting(name + " is not set");
        }
        return value == null ? fallback : value;
    }

    /** One of two words, the first being the default. */
    private static String oneOf(String name, String first, String second) {
        String value = setting(name, first);
        if (!value.equals(first) && !value.equals(second)) {
            throw new BadSetting(name + " must be " + first + " or " + second);
        }
        return value;
    }

    private static byte[] bytesOf(String name) {
        try {
            return Base64.getDecoder().decode(setting(name, null));
        } catch (IllegalArgumentException e) {
            throw new BadSetting(name + " is not base64");
        }
    }

    private static void pause() {
        try {
            Thread.sleep(200);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
