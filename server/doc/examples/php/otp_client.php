<?php

declare(strict_types=1);

/** Sends and verifies one-time codes through the OTP servlets. */
final class OtpClient
{
    public function __construct(
        private string $url,
        private string $accessKey,
        private string $key,
        private string $iv,
    ) {
    }

    /** Has a new code sent; one that was sent before stops being valid. */
    public function send(string $mobile, string $ipAddress): string
    {
        return $this->call('otpgenservlet', ['mobile' => $mobile, 'ipaddress' => $ipAddress]);
    }

    /** Has the same code sent again. */
    public function resend(string $mobile, string $ipAddress): string
    {
        return $this->call('otpregenservlet', ['mobile' => $mobile, 'ipaddress' => $ipAddress]);
    }

    /** Answers "verified" for the right code, once, and nothing like it for anything else. */
    public function verify(string $mobile, string $ipAddress, string $code): string
    {
        $method = 'aes-' . strlen($this->key) * 8 . '-cbc';
        $otp = base64_encode(openssl_encrypt($code, $method, $this->key, OPENSSL_RAW_DATA, $this->iv));
        return $this->call('otpvalidationservlet', ['mobile' => $mobile, 'ipaddress' => $ipAddress, 'otp' => $otp]);
    }

    private function call(string $servlet, array $parameters): string
    {
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => ["access_key: {$this->accessKey}", 'Content-Type: application/x-www-form-urlencoded'],
            'content' => http_build_query($parameters),
            'timeout' => 10,
            'ignore_errors' => true,
        ]]);
        $answer = file_get_contents("{$this->url}/{$servlet}", false, $context);
        return self::outcome(trim((string) $answer));
    }

    private static function outcome(string $answer): string
    {
        if (preg_match('/^Wrong PIN ?\. No of Retries remaining # ?(\d+)$/D', $answer, $wrong)) {
            return "wrong {$wrong[1]}";
        }
        if (str_starts_with($answer, 'Max no of tries for this pin')) {
            return 'exhausted';
        }
        return match ($answer) {
            'OTP Generated Successfully' => 'sent',
            'Verified successfully' => 'verified',
            'OTPEXPIRED' => 'expired',
            default => 'failed',
        };
    }
}

if (realpath($argv[0]) === __FILE__) {
    $client = new OtpClient(
        getenv('OTP_URL'),
        getenv('OTP_ACCESS_KEY'),
        base64_decode(getenv('OTP_CIPHER_KEY'), true),
        base64_decode(getenv('OTP_CIPHER_IV'), true),
    );
    $outcome = match ($argv[1]) {
        'send' => $client->send($argv[2], $argv[3]),
        'resend' => $client->resend($argv[2], $argv[3]),
        'verify' => $client->verify($argv[2], $argv[3], $argv[4]),
    };
    echo $outcome, "\n";
    exit(in_array($outcome, ['sent', 'verified'], true) ? 0 : 1);
}
