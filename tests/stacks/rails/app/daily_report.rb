# A small Rack app in the place of a Rails app. It takes from its environment what Rails takes, by the same names: RAILS_ENV,
# SECRET_KEY_BASE, and DATABASE_URL for the primary; REPLICA_DATABASE_URL is what a second entry of database.yml would read.
require "json"
require "mysql2"
require "openssl"
require "rack"
require "socket"
require "uri"

# A connection for each of unicorn's workers, as ActiveRecord has it: made when it is needed, and anew when it is lost.
class Database
  def initialize(url)
    @url = URI.parse(url)
    raise "#{@url.scheme} is no scheme of MySQL's" unless @url.scheme == "mysql2"
  end

  def query(sql, *values)
    retried = false
    begin
      @client ||= Mysql2::Client.new(host: @url.host, port: @url.port || 3306, username: @url.user,
                                     password: @url.password, database: @url.path.delete_prefix("/"))
      statement = @client.prepare(sql)
      statement.execute(*values).to_a
    rescue Mysql2::Error::ConnectionError
      @client = nil
      raise if retried
      retried = true
      retry
    ensure
      statement&.close if @client
    end
  end
end

class DailyReport
  def initialize(env = ENV)
    @mode = env.fetch("RAILS_ENV")
    @key = env.fetch("SECRET_KEY_BASE")
    raise "SECRET_KEY_BASE is too short" if @mode == "production" && @key.length < 30
    @primary = Database.new(env.fetch("DATABASE_URL"))
    @replica = Database.new(env.fetch("REPLICA_DATABASE_URL"))
  end

  def call(env)
    request = Rack::Request.new(env)
    case [request.request_method, request.path]
    in ["GET", "/up"] then up
    in ["GET", "/reports"] then index(request)
    in ["POST", "/reports"] then create(request)
    else [404, { "Content-Type" => "text/plain" }, ["no such page\n"]]
    end
  end

  # What `rails db:migrate` does.
  def migrate
    @primary.query("CREATE TABLE IF NOT EXISTS reports (id bigint AUTO_INCREMENT PRIMARY KEY, text varchar(255) NOT NULL) CHARACTER SET utf8mb4")
  end

  private

  # Ready is who reaches both databases.
  def up
    [@primary, @replica].each { |database| database.query("SELECT 1") }
    [200, { "Content-Type" => "text/plain" }, ["up\n"]]
  rescue Mysql2::Error => error
    warn "not up: #{error.message}"
    [503, { "Content-Type" => "text/plain" }, ["not up\n"]]
  end

  # Reads come from the replica.
  def index(request)
    reports = @replica.query("SELECT text FROM reports ORDER BY id").map { |row| row["text"] }
    json(200, reports: reports, reporter: verified(request.cookies["reporter"]), env: @mode, by: Socket.gethostname)
  end

  # Writes go to the primary. The cookie is signed with SECRET_KEY_BASE, so all replicas of the app have to have the same.
  def create(request)
    @primary.query("INSERT INTO reports (text) VALUES (?)", request.params.fetch("text"))
    status, headers, body = json(201, by: Socket.gethostname)
    reporter = request.params.fetch("reporter", "nobody")
    Rack::Utils.set_cookie_header!(headers, "reporter", { value: "#{reporter}--#{signature(reporter)}", httponly: true })
    [status, headers, body]
  end

  def verified(cookie)
    reporter, signed = cookie.to_s.split("--", 2)
    reporter if signed && Rack::Utils.secure_compare(signed, signature(reporter))
  end

  def signature(text) = OpenSSL::HMAC.hexdigest("SHA256", @key, text)

  def json(status, value) = [status, { "Content-Type" => "application/json" }, [JSON.generate(value) + "\n"]]
end
