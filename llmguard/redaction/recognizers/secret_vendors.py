"""Keys and tokens that vendors gave a prefix, so that a scanner can know them.

Source: the vendors' pages on their key formats and GitHub's list of secret-scanning patterns, read in 2026; each
length is a range, since vendors lengthen keys without notice.
"""
# ruff: noqa: E501  # a regex is read in one piece

import re

from llmguard.redaction.recognizers.base import Rule

# name, literals of which one is in every such key (a cheap test before the regex), the key as a regex without lookaround
_VENDORS = (
    ("llmguard key", "sk-lg_", r"sk-lg_[\w-]{8,16}_[\w-]{30,60}"),
    ("Anthropic key", "sk-ant-", r"sk-ant-[\w-]{24,140}"),
    ("OpenAI key", "sk-", r"sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,200}"),
    ("OpenRouter key", "sk-or-", r"sk-or-v1-[0-9a-f]{48,80}"),
    ("AWS access key id", "AKIA ASIA AROA AIDA ABIA ACCA", r"(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z2-7]{16}"),
    ("AWS Bedrock key", "ABSK", r"ABSK[A-Za-z0-9+/]{100,270}={0,2}"),
    ("Google API key", "AIza", r"AIza[\w-]{35}"),
    ("Google OAuth token", "ya29.", r"ya29\.[\w-]{20,400}"),
    ("Google OAuth secret", "GOCSPX-", r"GOCSPX-[\w-]{28}"),
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{30,255}"),
    ("GitHub fine-grained token", "github_pat_", r"github_pat_\w{60,255}"),
    (
        "GitLab token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glrtr-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|rtr)-[\w.-]{18,300}",
    ),
    ("Slack token", "xox", r"xox[abposre]-[A-Za-z0-9-]{10,250}"),
    ("Slack app token", "xapp-", r"xapp-\d-[A-Z0-9]{8,16}-\d{8,16}-[a-z0-9]{40,80}"),
    ("Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,120}"),
    ("Discord webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{15,22}/[\w-]{40,100}"),
    ("Stripe key", "_live_ _test_", r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,247}"),
    ("Stripe webhook secret", "whsec_", r"whsec_[A-Za-z0-9+/]{24,64}={0,2}"),
    ("SendGrid key", "SG.", r"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    ("Twilio key", "SK AC", r"(?:SK|AC)[0-9a-f]{32}"),
    ("Mailgun key", "key-", r"key-[0-9a-f]{32}"),
    ("Mailchimp key", "-us", r"[0-9a-f]{32}-us\d{1,2}"),
    ("npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    ("PyPI token", "pypi-", r"pypi-AgE[\w-]{50,300}"),
    ("RubyGems key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    ("Docker Hub token", "dckr_", r"dckr_(?:pat|oat)_[\w-]{24,64}"),
    ("Hugging Face token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z]{30,40}"),
    ("Replicate token", "r8_", r"r8_[A-Za-z0-9]{36,40}"),
    ("Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,60}"),
    ("xAI key", "xai-", r"xai-[A-Za-z0-9]{60,90}"),
    ("Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{40,60}"),
    ("Databricks token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    ("DigitalOcean token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    ("Cloudflare origin key", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,160}"),
    ("Heroku key", "HRKU-", r"HRKU-[\w-]{36,70}"),
    ("Vercel token", "vca_ vci_ vck_ vcp_ vcr_", r"vc[aikpr]_[A-Za-z0-9]{24,60}"),
    ("Supabase key", "sbp_ sb_secret_", r"sb(?:p|_secret)_[A-Za-z0-9_-]{20,60}"),
    ("PlanetScale token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[\w.=-]{32,64}"),
    ("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("Square token", "EAAA sq0", r"(?:EAAA|sq0(?:atp|csp|idp)-)[\w-]{22,60}"),
    ("PayPal Braintree token", "access_token$", r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}"),
    ("Telegram bot token", ":AA", r"\d{8,10}:AA[\w-]{32,34}"),
    ("Atlassian token", "ATATT3", r"ATATT3[\w=-]{60,250}"),
    ("Bitbucket token", "ATBB", r"ATBB[A-Za-z0-9]{32}"),
    ("Linear key", "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,80}"),
    ("Notion token", "secret_ ntn_", r"(?:secret_|ntn_)[A-Za-z0-9]{40,50}"),
    ("Airtable token", "pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    ("Figma token", "figd_", r"figd_[\w-]{36,60}"),
    ("Postman key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("Grafana token", "glc_ glsa_", r"gl(?:c|sa)_[A-Za-z0-9+/_=]{32,400}"),
    ("New Relic key", "NRAK- NRJS- NRII- NRRA-", r"NR(?:AK|JS|II|RA)-[A-Za-z0-9-]{24,48}"),
    ("Sentry token", "sntry", r"sntry[su]_[\w+/=-]{40,300}"),
    ("Datadog key", "ddpat_ ddapp_", r"dd(?:pat|app)_[A-Za-z0-9]{30,60}"),
    ("Doppler token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{30,80}"),
    ("Pulumi token", "pul-", r"pul-[0-9a-f]{40}"),
    ("Terraform Cloud token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}"),
    ("HashiCorp Vault token", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,300}"),
    ("Azure client secret", "Q~", r"[\w~.-]{3}\dQ~[\w~.-]{31,34}"),
    ("Fly.io token", "FlyV1 fo1_", r"(?:FlyV1 fm\d_|fo1_)[\w+/=,-]{40,600}"),
    ("Alibaba Cloud key id", "LTAI", r"LTAI[A-Za-z0-9]{16,24}"),
    ("Tencent Cloud key id", "AKID", r"AKID[A-Za-z0-9]{28,36}"),
    ("Facebook token", "EAA", r"EAA[A-Z][A-Za-z0-9]{80,300}"),
    ("Adafruit key", "aio_", r"aio_[A-Za-z0-9]{28}"),
    ("Dropbox token", "sl.", r"sl\.[\w-]{100,1500}"),
    ("1Password token", "ops_eyJ", r"ops_eyJ[\w+/=-]{200,2000}"),
    ("Typeform token", "tfp_", r"tfp_[\w.=-]{40,70}"),
    ("PostHog key", "phc_ phx_", r"ph[cx]_[A-Za-z0-9]{32,60}"),
    ("LangSmith key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    ("Langfuse key", "-lf-", r"(?:sk|pk)-lf-[0-9a-f-]{36}"),
    ("Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9_]{40,90}"),
    ("NVIDIA key", "nvapi-", r"nvapi-[\w-]{60,70}"),
    ("Tailscale key", "tskey-", r"tskey-(?:auth|api|client|scim)-[A-Za-z0-9]{10,24}-[A-Za-z0-9]{20,60}"),
    ("Buildkite token", "bkua_", r"bkua_[0-9a-f]{40}"),
    ("SonarQube token", "sqa_ sqp_ squ_", r"sq[apu]_[0-9a-f]{40}"),
    ("Artifactory key", "AKCp", r"AKCp[A-Za-z0-9]{65,75}"),
    ("Prefect key", "pnb_ pnu_", r"pn[bu]_[A-Za-z0-9]{36}"),
)
_LEAST_DIGITS = 4  # `sk-learn-pipeline-steps-v2` is prose
_NEEDS_MIX = {"OpenAI key", "Hugging Face token", "GitLab token", "Vercel token", "Supabase key", "Square token"}


def _mixes(value: str) -> bool:
    """Say whether a long value after a short prefix mixes its characters, as words in code do not."""
    tail = value[3:]
    has_case = any(c.islower() for c in tail) and any(c.isupper() for c in tail)
    return has_case or sum(c.isdigit() for c in tail) >= _LEAST_DIGITS


VENDOR_RULES = tuple(
    Rule(
        name,
        "API_KEY",
        re.compile(rf"(?<![A-Za-z0-9_]){regex}(?![A-Za-z0-9])"),
        1.0,
        _mixes if name in _NEEDS_MIX else None,
        needs=tuple(literals.lower().split()),
    )
    for name, literals, regex in _VENDORS
)
