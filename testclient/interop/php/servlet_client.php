<?php

// Walks one code through the OTP servlets the way a PHP integration does, and stops at the first
// answer that differs by a single byte. Run with `php servlet_client.php` (PHP 7.4 or later, openssl
// extension, no curl); the settings are the environment variables listed in the README beside this
// folder.

declare(strict_types=1);

const IP_ADDRESS = '203.0.113.30';
const REQUEST_TIMEOUT_SECONDS = 20;
const INBOX_PATIENCE_SECONDS = 10;

final class Mismatch extends RuntimeException
{
}

final class BadSetting extends RuntimeException
{
}

final class Answer
{
    public int $status;
    public string $body;

    public function __construct(int $status, string $body)
    {
        $this->status = $status;
        $this->body = $body;
    }

    public function shown(): string
    {
        return "HTTP {$this->status} \"" . addcslashes($this->body, "\0..\37\"\\\177..\377") . '"';
    }
}

final class ServletClient
{
    private string $target;
    private string $servlets;
    private string $accessKey;
    private string $cipherKey;
    private string $cipherIv;
    private string $mobile;
    private bool $live;
    private bool $hex;

    public function __construct()
    {
        $this->target = rtrim(setting('TARGET', 'http://127.0.0.1:8080'), '/');
        $this->servlets = $this->target . rtrim(setting('CONTEXT_PATH', '/otpauthapi'), '/');
        $this->accessKey = setting('ACCESS_KEY');
        $this->cipherKey = bytesOf('CIPHER_KEY');
        $this->cipherIv = bytesOf('CIPHER_IV');
        $this->mobile = setting('MOBILE');
        $this->live = oneOf('PROFILE', 'documented', 'live') === 'live';
        $this->hex = oneOf('PARAM_ENCODING', 'base64', 'hex') === 'hex';
    }

    public function run(): void
    {
        $subject = ['ipaddress' => IP_ADDRESS, 'mobile' => $this->mobile];
        $query = http_build_query($subject);
        $key = ["access_key: {$this->accessKey}"];

        $this->expect(
            'generate',
            'OTP Generated Successfully',
            request('GET', "{$this->servlets}/otpgenservlet?$query", $key)
        );

        // Integrations POST with everything in the query string and nothing in the body. The stream
        // wrapper states no length for an empty body by itself.
        $this->expect(
            'regenerate',
            'OTP Generated Successfully',
            request('POST', "{$this->servlets}/otpregenservlet?$query", array_merge($key, ['Content-Length: 0']))
        );

        $validate = function (string $code) use ($subject, $key): Answer {
            // http_build_query encodes the plus of base64.
            return request(
                'POST',
                "{$this->servlets}/otpvalidationservlet",
                array_merge($key, ['Content-Type: application/x-www-form-urlencoded']),
                http_build_query($subject + ['otp' => $this->encrypt($code)])
            );
        };

        $code = $this->codeSentTwice();
        $this->expect(
            'wrong code',
            $this->live ? 'Wrong PIN . No of Retries remaining # 2' : 'Wrong PIN. No of Retries remaining #2',
            $validate(differingFrom($code))
        );
        $this->expect('right code', 'Verified successfully', $validate($code));
        $this->expect('used code', 'OTPEXPIRED', $validate($code));
    }

    private function encrypt(string $code): string
    {
        $cipher = 'aes-' . strlen($this->cipherKey) * 8 . '-cbc';
        $block = openssl_encrypt($code, $cipher, $this->cipherKey, OPENSSL_RAW_DATA, $this->cipherIv);
        if ($block === false) {
            throw new RuntimeException('openssl_encrypt: ' . openssl_error_string());
        }
        return $this->hex ? bin2hex($block) : base64_encode($block);
    }

    /** The code of the two newest messages, which must be the same: regenerate sends it again. */
    private function codeSentTwice(): string
    {
        $inbox = "{$this->target}/sandbox/messages?" . http_build_query(['to' => $this->mobile]);
        $giveUp = microtime(true) + INBOX_PATIENCE_SECONDS;
        while (true) {
            $answer = request('GET', $inbox, []);
            $codes = array_column(json_decode($answer->body, true)['data'] ?? [], 'code');
            if (count($codes) >= 2) {
                [$newest, $before] = $codes;
                $equal = $newest === $before && preg_match('/\A[0-9]{4,10}\z/', (string) $newest) === 1;
                same('inbox', "the same code twice, $before", "newest $newest", $equal);
                return $newest;
            }
            if (microtime(true) >= $giveUp) {
                same('inbox', 'two messages', $answer->shown(), false);
            }
            usleep(200000);
        }
    }

    private function expect(string $step, string $text, Answer $came): void
    {
        $expected = new Answer(200, $this->live ? "$text\r\n" : $text);
        same(
            $step,
            $expected->shown(),
            $came->shown(),
            $came->status === $expected->status && $came->body === $expected->body
        );
    }
}

/** @param string[] $headers */
function request(string $method, string $url, array $headers, string $body = ''): Answer
{
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => $headers,
        'content' => $body,
        'timeout' => REQUEST_TIMEOUT_SECONDS,
        'ignore_errors' => true, // Without it a status of 400 or more hides the body.
        'follow_location' => 0,
    ]]);
    // file_get_contents would do, but it hands the status over in $http_response_header, which PHP 8.5
    // deprecates; a stream carries it along.
    $stream = @fopen($url, 'rb', false, $context);
    if ($stream === false) {
        throw new RuntimeException("$method $url: " . (error_get_last()['message'] ?? 'no answer'));
    }
    $lines = stream_get_meta_data($stream)['wrapper_data'];
    $answer = stream_get_contents($stream);
    fclose($stream);
    preg_match('/^HTTP\/\S+ (\d{3})/', $lines[0], $status);
    return new Answer((int) $status[1], (string) $answer);
}

/** The same code with another last digit. */
function differingFrom(string $code): string
{
    return substr($code, 0, -1) . ((int) substr($code, -1) + 1) % 10;
}

function same(string $step, string $expected, string $came, bool $equal): void
{
    if (!$equal) {
        throw new Mismatch("FAILED $step\n  expected $expected\n  came     $came");
    }
    echo "ok $step\n";
}

function setting(string $name, ?string $fallback = null): string
{
    $value = getenv($name);
    if ($value !== false) {
        return $value;
    }
    if ($fallback === null) {
        throw new BadSetting("$name is not set");
    }
    return $fallback;
}

/** One of two words, the first being the default. */
function oneOf(string $name, string $first, string $second): string
{
    $value = setting($name, $first);
    if ($value !== $first && $value !== $second) {
        throw new BadSetting("$name must be $first or $second");
    }
    return $value;
}

function bytesOf(string $name): string
{
    $bytes = base64_decode(setting($name), true);
    if ($bytes === false) {
        throw new BadSetting("$name is not base64");
    }
    return $bytes;
}

try {
    (new ServletClient())->run();
} catch (BadSetting $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(2);
} catch (Mismatch $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
} catch (Throwable $e) {
    fwrite(STDERR, 'FAILED ' . $e->getMessage() . "\n");
    exit(1);
}
